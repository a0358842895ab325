# SPDX-License-Identifier: Apache-2.0
"""The configuration of the embedded PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.embedded.postgres import SOCKET_PATH_LIMIT, socket_folder
from api.embedded.postgres_settings import server_settings
from api.embedded.programs import PostgresPrograms

PROGRAMS = PostgresPrograms(Path("/bin"), 14, has_postgis=True, has_timescaledb=True, has_lz4=True)


def lines(**changes: Any) -> list[str]:
    arguments: dict[str, Any] = {
        "socket_folder": Path("/data/socket"),
        "port": 5432,
        "timescaledb": False,
        "shared_buffers_mb": None,
        "options": {},
    }
    return server_settings(PROGRAMS, **(arguments | changes)).splitlines()


def test_it_listens_on_no_network_address() -> None:
    assert "listen_addresses = ''" in lines()


def test_commits_are_durable() -> None:
    assert "synchronous_commit = 'on'" in lines()


def test_timescaledb_is_loaded_only_when_used() -> None:
    assert not [line for line in lines() if "timescaledb" in line]
    assert "shared_preload_libraries = 'timescaledb'" in lines(timescaledb=True)


def test_timescaledb_does_not_call_home() -> None:
    assert "timescaledb.telemetry_level = 'off'" in lines(timescaledb=True)


def test_given_options_replace_ours() -> None:
    assert [line for line in lines(options={"fsync": "off", "jit": "on"}) if line.startswith(("fsync", "jit"))] == [
        "jit = 'on'",
        "fsync = 'off'",
    ]


def test_an_old_server_gets_no_method_it_does_not_know() -> None:
    assert "wal_compression = 'on'" in lines()


def test_awkward_folders_are_quoted() -> None:
    assert """unix_socket_directories = '"/O''Brien, x"'""" in lines(socket_folder=Path("/O'Brien, x"))


def test_the_operator_has_the_last_word() -> None:
    assert lines()[-1] == "include_if_exists = 'operator.conf'"


def test_the_socket_is_beside_the_cluster() -> None:
    assert socket_folder(Path("/var/lib/minamo/postgres")) == Path("/var/lib/minamo/postgres/socket")


def test_a_path_too_long_for_a_socket_is_avoided() -> None:
    base = Path("/" + "深" * 40)
    found = socket_folder(base)
    assert found == socket_folder(base)
    assert len(bytes(found / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT
