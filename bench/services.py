# SPDX-License-Identifier: Apache-2.0
"""What the measurements run against: a private PostgreSQL and mosquitto, made and started as ``minamo up`` does it.

The database is on a unix socket with the settings of production, fsync included.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import httpx
import orjson
import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from api.embedded import EmbeddedHub, Services
from api.hub import open_hub
from api.settings import Settings
from bench.device_formats import FORMATS
from bench.machine import cpu_seconds, family
from bench.mqtt_load import JSON, device_key
from broker.devices.model import AttributeMapping, Device
from broker.devices.profile import DeviceProfile, ExpectedInterval
from context_store.migrate import migrate
from tests.support.folders import free_port, temporary_folder

ROOT: Final = Path(__file__).parents[1]
WATER_LEVEL: Final = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
WATER_OBSERVED: Final = "https://smartdatamodels.org/dataModel.Environment/WaterObserved"
_LINE_BYTES: Final = 16 * 1024 * 1024
_READY_S: Final = 120.0
_REGISTERED_AT_ONCE: Final = 5000  # devices
_LOG_FILES: Final = 48  # of 16 MB
_CHILD_S: Final = 120.0  # longest wait for anything a child process is asked to say


@dataclass(frozen=True, slots=True)
class Bench:
    """Running servers; ``folder`` is for files of the measurement."""

    services: Services
    folder: Path

    @property
    def password(self) -> str:
        """Of the MQTT user that the hub has, who may publish for every device."""
        return self.services.mqtt.password or ""

    @property
    def user(self) -> str:
        """The MQTT user that the hub has."""
        return self.services.mqtt.username or ""

    def server_cpu_s(self) -> dict[str, float]:
        """Processor time so far of ``postgres`` (all its processes) and ``mosquitto``."""
        servers = (self.services.postgres, self.services.mosquitto)
        return {
            server.name: cpu_seconds(family(server.supervisor.pid))
            for server in servers
            if server is not None and server.supervisor.pid is not None
        }

    def hub_environment(self) -> dict[str, str]:
        """The settings of a role that works with these servers."""
        access = self.services.mqtt
        credentials = f"{quote(self.user)}:{quote(self.password)}"
        return {
            "MINAMO_DATABASE_URL": self.services.database_url,
            "MINAMO_MQTT_URL": f"mqtt://{credentials}@{access.host}:{access.port}",
            "MINAMO_DATA_DIR": str(self.folder / "unused"),
        }

    async def make_log_files(self) -> None:
        """Have PostgreSQL make the files of its log once, as in a hub that has run for a while: it uses them again.

        A new one is filled with zeros before it is written, which is a seventh of what PostgreSQL does for a reading.
        """
        assert self.services.postgres is not None
        url = self.services.postgres.url("postgres", "postgres")  # who may do this
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for _ in range(_LOG_FILES):
                await connection.execute("select pg_logical_emit_message(false, '', '')")
                await connection.execute("select pg_switch_wal()")
            await connection.execute("checkpoint")

    def forget_session(self, client_id: str) -> None:
        """End the session that the broker keeps for a client that is away, or it would queue what is to come."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        client.username_pw_set(self.user, self.password)
        client.connect(self.services.mqtt.host, self.services.mqtt.port, clean_start=True)
        client.loop_start()
        while not client.is_connected():
            pass
        client.disconnect()
        client.loop_stop()


@contextlib.asynccontextmanager
async def running_services(
    devices: int, forms: Sequence[str] = (JSON,), timescaledb: Literal["auto", "off"] = "auto"
) -> AsyncIterator[Bench]:
    """A migrated database with ``devices`` registered that send in each of ``forms``, and a broker; nothing is left of
    them afterwards."""
    with temporary_folder() as folder:
        settings = Settings(data_dir=folder / "data", mqtt_port=free_port(), timescaledb=timescaledb)
        async with EmbeddedHub(settings) as services:
            await asyncio.to_thread(migrate, services.database_url)
            async with open_hub(settings, services.database_url) as hub:
                registered = [_device(number, form) for form in forms for number in range(devices)]
                for first in range(0, len(registered), _REGISTERED_AT_ONCE):
                    await hub.devices.put(*registered[first : first + _REGISTERED_AT_ONCE])
            yield Bench(services, folder)


def _device(number: int, form: str) -> Device:
    key = device_key(number, form)
    format_of = FORMATS[form]
    return Device(
        tenant_id=1,
        device_id=key,
        key=key,
        name=f"Station {number}",
        entity_id=f"urn:ngsi-ld:WaterObserved:{key}",
        entity_types=(WATER_OBSERVED,),
        attributes=(
            AttributeMapping(format_of.field, WATER_LEVEL, "MTR", minimum=-5.0, maximum=30.0, factor=format_of.factor),
        ),
        format=format_of.profile,
        profile=DeviceProfile(expected_interval=ExpectedInterval(normal=600.0)),
        location=(138.38 + number / 10_000, 34.97),
    )


class Child:
    """A process of the measurement that speaks in lines on standard output."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    async def line(self, within_s: float = _CHILD_S) -> str:
        """The next line it says. Raises when it ended instead."""
        assert self._process.stdout is not None
        text = await asyncio.wait_for(self._process.stdout.readline(), within_s)
        if not text:
            raise RuntimeError(f"a process of the measurement ended with {await self._process.wait()}")
        return text.decode().strip()

    async def ready(self) -> None:
        """Wait until it says so."""
        said = await self.line()
        assert said == "ready", said

    async def report(self, within_s: float = _CHILD_S) -> dict[str, Any]:
        """The JSON object it says next."""
        document: dict[str, Any] = orjson.loads(await self.line(within_s))
        return document

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def gone(self) -> None:
        """Wait until it has ended by itself."""
        await asyncio.wait_for(self._process.wait(), _CHILD_S)

    async def end(self) -> None:
        """Ask it to end, as Ctrl-C does, and wait until it has."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
        await self.gone()


@contextlib.asynccontextmanager
async def child(
    *arguments: str, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncIterator[Child]:
    """``python <arguments>`` from the project's folder; it is ended with the block. ``log`` takes what it writes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINAMO_")}
    output = log.open("ab") if log is not None else None
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            env={**inherited, **(environment or {})},
            stdin=PIPE,
            stdout=output if output is not None else PIPE,
            stderr=output,
            limit=_LINE_BYTES,
        )
    finally:
        if output is not None:
            output.close()
    running = Child(process)
    try:
        yield running
    finally:
        await running.end()


async def answering(url: str, log: Path) -> None:
    """Wait until ``url`` is answered with 2xx; raises :class:`RuntimeError` with the end of the server's ``log``."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(_READY_S):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(url)).is_success:
                        return
                await asyncio.sleep(0.1)
    except TimeoutError:
        said = await asyncio.to_thread(log.read_text)
        raise RuntimeError(f"{url} does not answer:\n{said[-4000:]}") from None
