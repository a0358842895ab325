# SPDX-License-Identifier: Apache-2.0
"""The embedded servers as a whole: start, second start, death of the hub at any time, clean stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from api.embedded import ChildState, EmbeddedHub, mqtt_access, mqtt_probe, reset_data_folder
from api.embedded.processes import is_alive, started_with, working_in
from api.embedded.texts import DataFolderInUse, DataFolderUnusable, Text
from api.settings import Settings
from support.folders import free_port, temporary_folder
from support.waiting import eventually

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def settings() -> Iterator[Settings]:
    with temporary_folder() as path:
        yield Settings(data_dir=path / "data", mqtt_port=free_port(), postgres_shared_buffers_mb=64)


def left_over(settings: Settings) -> list[int]:
    """Processes of the servers that are alive."""
    configuration = settings.data_dir / "mosquitto/config/mosquitto.conf"
    return [
        *working_in(settings.data_dir / "postgres/data", "postgres"),
        *started_with(str(configuration), "mosquitto"),
    ]


def start_hub(settings: Settings) -> subprocess.Popen[str]:
    """A hub in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.hub_child", str(settings.data_dir), str(settings.mqtt_port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )


@contextmanager
def hub_process(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A hub in a process of its own, and what it said when all was up."""
    with start_hub(settings) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def owner(pid: int) -> int:
    """The user id a process runs as."""
    return Path(f"/proc/{pid}").stat().st_uid


def write_row(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("create table if not exists reading (value integer)")
        connection.execute("insert into reading values (1)")


def count_rows(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select count(*) from reading").fetchone()
        assert row is not None
        return int(row[0])


async def test_it_starts_serves_and_leaves_nothing_running(settings: Settings) -> None:
    async with EmbeddedHub(settings) as services:
        assert services.states() == {"postgres": ChildState.RUNNING, "mosquitto": ChildState.RUNNING}
        mqtt = services.mqtt
        assert await mqtt_probe.accepts(mqtt.host, mqtt.port, mqtt.username or "", mqtt.password or "")
        assert left_over(settings)
    assert left_over(settings) == []


async def test_the_hub_is_no_superuser_and_has_postgis(settings: Settings) -> None:
    async with EmbeddedHub(settings) as services:
        with psycopg.connect(services.database_url) as connection:
            row = connection.execute(
                "select rolsuper, rolbypassrls, postgis_lib_version() is not null "
                "from pg_roles where rolname = current_user"
            ).fetchone()
    assert row == (False, False, True)


async def test_the_second_start_keeps_data_and_credentials_and_is_quick(settings: Settings) -> None:
    async with EmbeddedHub(settings) as first:
        write_row(first.database_url)
    began = time.monotonic()
    async with EmbeddedHub(settings) as second:
        took_s = time.monotonic() - began
        assert (count_rows(second.database_url), second.mqtt) == (1, first.mqtt)
    assert took_s < 5


async def test_progress_is_told_in_both_languages(settings: Settings) -> None:
    told: list[Text] = []
    async with EmbeddedHub(settings, progress=told.append):
        pass
    assert [text.in_language("en").split(" (")[0] for text in told] == [
        "Making a private database",
        "Starting the database",
        "Starting the MQTT broker",
    ]
    assert all(text.ja for text in told)


async def test_a_second_hub_on_the_same_folder_is_refused_and_disturbs_nothing(settings: Settings) -> None:
    async with EmbeddedHub(settings) as services:
        with pytest.raises(DataFolderInUse, match=str(os.getpid())):
            async with EmbeddedHub(settings):
                pass
        write_row(services.database_url)


async def test_servers_of_the_city_are_used_as_they_are(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "unused",
        database_url="postgresql://hub@db/minamo",
        mqtt_url="mqtts://hub:p%40ss@broker.example",
    )
    async with EmbeddedHub(settings) as services:
        assert services.database_url == "postgresql://hub@db/minamo"
        assert services.mqtt == mqtt_access("mqtts://hub:p%40ss@broker.example")
        assert (services.mqtt.port, services.mqtt.password, services.states()) == (8883, "p@ss", {})
        assert not await services.sync_credentials([])
    assert not (tmp_path / "unused").exists()


async def test_when_the_broker_cannot_start_the_database_is_stopped_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.embedded.mosquitto.configuration", lambda **_: "no such option\n")
    with pytest.raises(Exception, match="mosquitto ended with code"):
        async with EmbeddedHub(settings):
            pass
    assert left_over(settings) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as other users")
async def test_a_folder_that_the_servers_cannot_reach_is_refused_before_anything_is_made(settings: Settings) -> None:
    settings.data_dir.parent.chmod(0o700)
    with pytest.raises(DataFolderUnusable, match="may not enter"):
        async with EmbeddedHub(settings):
            pass
    assert left_over(settings) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as other users")
async def test_started_by_root_no_server_runs_as_root(settings: Settings) -> None:
    async with EmbeddedHub(settings):
        owners = {owner(pid) for pid in left_over(settings)}
    assert owners
    assert 0 not in owners


async def test_reset_removes_everything(settings: Settings) -> None:
    async with EmbeddedHub(settings):
        pass
    assert await reset_data_folder(settings)
    assert not settings.data_dir.exists()


@pytest.mark.kill
async def test_after_the_hub_was_killed_the_next_start_has_the_data(settings: Settings) -> None:
    with hub_process(settings) as (process, told):
        write_row(told["database_url"])
        process.send_signal(signal.SIGKILL)
        process.wait()
    async with EmbeddedHub(settings) as services:
        assert count_rows(services.database_url) == 1
    assert left_over(settings) == []


@pytest.mark.kill
async def test_servers_of_a_hub_that_was_killed_end_by_themselves(settings: Settings) -> None:
    with hub_process(settings) as (process, told):
        process.send_signal(signal.SIGKILL)
        process.wait()
    await eventually(lambda: not is_alive(told["postgres"]) and not is_alive(told["mosquitto"]))


@pytest.mark.kill
async def test_servers_left_running_are_ended_by_the_next_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without setpriv nobody tells the servers that the hub died: what happens on systems that do not have it.
    with monkeypatch.context() as patch, temporary_folder() as empty:
        for program in ("initdb", "mosquitto"):
            found = next((p for p in map(Path, (f"/usr/sbin/{program}", f"/usr/bin/{program}")) if p.exists()), None)
            if found:
                (empty / program).symlink_to(found)
        patch.setenv("PATH", str(empty))
        with hub_process(settings) as (process, told):
            write_row(told["database_url"])
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert is_alive(told["postgres"])
    assert is_alive(told["mosquitto"])
    async with EmbeddedHub(settings) as services:
        assert count_rows(services.database_url) == 1
        assert not is_alive(told["postgres"])
        assert not is_alive(told["mosquitto"])
    assert left_over(settings) == []


@pytest.mark.kill
async def test_everything_killed_at_once_is_recovered(settings: Settings) -> None:
    with hub_process(settings) as (process, told):
        write_row(told["database_url"])
        for pid in (process.pid, told["postgres"], told["mosquitto"]):
            os.kill(pid, signal.SIGKILL)
        process.wait()
    async with EmbeddedHub(settings) as services:
        assert count_rows(services.database_url) == 1


@pytest.mark.kill
async def test_a_first_start_that_was_killed_is_completed(settings: Settings) -> None:
    for delay_s in (0.6, 0.9, 1.2, 1.5):
        with start_hub(settings) as process:
            await asyncio.sleep(delay_s)
            process.kill()
    async with EmbeddedHub(settings) as services:
        write_row(services.database_url)
        assert count_rows(services.database_url) == 1


async def test_ctrl_c_stops_everything(settings: Settings) -> None:
    with hub_process(settings) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert left_over(settings) == []


@pytest.mark.kill
@pytest.mark.parametrize("name", ["postgres", "mosquitto"])
async def test_a_server_that_is_killed_comes_again(settings: Settings, name: str) -> None:
    async with EmbeddedHub(settings) as services:
        write_row(services.database_url)
        server = {"postgres": services.postgres, "mosquitto": services.mosquitto}[name]
        assert server is not None
        pid = server.supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: server.supervisor.restarts == 1, timeout_s=30)
        assert services.states()[name] is ChildState.RUNNING
        assert count_rows(services.database_url) == 1
    assert left_over(settings) == []
