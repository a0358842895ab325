# SPDX-License-Identifier: Apache-2.0
"""The embedded cluster: traps of lock files, sockets and interrupted set-ups."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from api.embedded.postgres import SUPERUSER, EmbeddedPostgres
from api.embedded.programs import find_postgres
from api.embedded.state import DataFolder
from api.embedded.texts import DataFolderUnusable, ProgramMissing
from support.folders import temporary_folder


@pytest.fixture
def folder() -> Iterator[DataFolder]:
    with temporary_folder() as path:
        folder = DataFolder(path)
        folder.open()
        yield folder


@asynccontextmanager
async def running(folder: DataFolder) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder, shared_buffers_mb=64, options={"fsync": "off"})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def setting(server: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(server.url("postgres", SUPERUSER)) as connection:
        row = connection.execute("select current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return str(row[0])


async def test_a_lock_file_whose_number_belongs_to_another_process_is_no_obstacle(folder: DataFolder) -> None:
    async with running(folder) as server:
        content = (server.data / "postmaster.pid").read_text().splitlines()
    content[0] = str(os.getpid())
    (server.data / "postmaster.pid").write_text("\n".join(content) + "\n")
    (server.socket_folder / ".s.PGSQL.5432.lock").write_text("\n".join(content) + "\n")
    async with running(folder) as again:
        assert setting(again, "listen_addresses") == ""


async def test_an_unfinished_cluster_is_made_anew(folder: DataFolder) -> None:
    unfinished = folder.postgres / "data.unfinished" / "base"
    unfinished.mkdir(parents=True)
    async with running(folder) as server:
        assert setting(server, "server_encoding") == "UTF8"
    assert not unfinished.exists()


async def test_a_folder_too_deep_for_a_socket_works(folder: DataFolder) -> None:
    deep = DataFolder(folder.path / ("d" * 60) / ("e" * 60))
    deep.open()
    async with running(deep) as server:
        assert not server.socket_folder.is_relative_to(deep.path)
        assert setting(server, "cluster_name") == "minamo"
    shutil.rmtree(server.socket_folder)


async def test_a_socket_folder_of_somebody_else_is_refused(folder: DataFolder) -> None:
    folder.postgres.mkdir()
    (folder.postgres / "socket").symlink_to("/tmp")  # noqa: S108 - what an attacker would do
    with pytest.raises(DataFolderUnusable, match="another user"):
        async with running(folder):
            pass


async def test_the_socket_is_closed_to_others(folder: DataFolder) -> None:
    async with running(folder) as server:
        assert server.socket_folder.stat().st_mode & 0o777 == 0o700


async def test_operators_settings_win(folder: DataFolder) -> None:
    async with running(folder) as server:
        pass
    (server.data / "operator.conf").write_text("work_mem = '12MB'\n")
    async with running(folder) as again:
        assert setting(again, "work_mem") == "12MB"


async def test_a_cluster_stays_what_it_was_made_as(folder: DataFolder) -> None:
    server = EmbeddedPostgres(folder, timescaledb="off", options={"fsync": "off"})
    await server.start()
    await server.stop()
    async with running(folder) as again:
        assert not again.has_timescaledb


async def test_data_of_a_version_that_is_not_installed_is_not_touched(folder: DataFolder) -> None:
    (folder.postgres / "data").mkdir(parents=True)
    (folder.postgres / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ProgramMissing, match="postgresql-9-postgis-3"):
        async with running(folder):
            pass
    assert [path.name for path in (folder.postgres / "data").iterdir()] == ["PG_VERSION"]


async def test_a_cluster_with_timescaledb_needs_it(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder):
        pass
    folder.remember(timescaledb=True)
    without = replace(find_postgres(), has_timescaledb=False)
    monkeypatch.setattr("api.embedded.postgres.find_postgres", lambda _version=None: without)
    with pytest.raises(ProgramMissing, match="TimescaleDB"):
        async with running(folder):
            pass


def test_programs_are_found_where_debian_keeps_them() -> None:
    programs = find_postgres()
    assert programs.has_postgis
    assert Path(programs.postgres).is_file()
