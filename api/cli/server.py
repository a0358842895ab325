# SPDX-License-Identifier: Apache-2.0
"""The commands that run the hub itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial

import click

from api.devices.mqtt_files import Target, hub_password, keep_files
from api.embedded import (
    ChildState,
    EmbeddedHub,
    MqttAccess,
    MqttCredential,
    Services,
    Text,
    mqtt_access,
    reset_data_folder,
)
from api.embedded.mosquitto_files import HUB_USER
from api.health import PartDown
from api.hub import Hub, open_hub
from api.roles import (
    Parts,
    RoleEnded,
    add_api,
    add_health_only,
    add_ingest,
    add_ingest_writer,
    add_workers,
    maintained,
    make_sender,
    run,
)
from api.settings import Settings
from context_store.caches import CHANNEL as CACHE_CHANNEL
from context_store.migrate import migrate
from ingest.client import MqttAddress
from ingest.writer import ReceiverGone

_CERTIFICATE_S = 600.0  # between two looks whether the certificate of the broker was renewed

Progress = Callable[[Text | str], None]

_REPLAY_NOTICE = {
    "ja": "デモ：過去の出水（デッドラン2019年5月、コルダー川2025年9月）の再生です。現在の水位ではありません。",
    "en": "Demonstration: a replay of past floods (Dead Run, May 2019; upper Calder, September 2025), not the present.",
}


async def reset(settings: Settings, progress: Progress) -> None:
    """Remove the data folder's contents."""
    await reset_data_folder(settings, progress=progress)


async def up(settings: Settings, *, demo_speed: float | None, progress: Progress) -> None:
    """Everything in one process, over the embedded services where no address is configured."""
    async with (
        EmbeddedHub(settings, progress=progress) as services,
        open_hub(settings, services.database_url) as hub,
        maintained(hub, services.database_url),
        make_sender(settings, hub.database, hub.sealer) as sender,
    ):
        parts = Parts()
        add_api(parts, hub, None if demo_speed is None else _REPLAY_NOTICE)
        add_workers(parts, hub, sender)
        address = _address(services.mqtt)
        # The broker's session of the hub is on disk from the first moment, so that no crash of it loses it.
        add_ingest(parts, hub, address, services.save_mqtt_state)
        for name in services.states():
            parts.health.add(f"embedded {name}", partial(_check_child, services, name))
        if services.mosquitto is not None:
            _add_credentials(parts, hub, services)
        if demo_speed is not None:
            parts.add("replay", _replay_child(settings, address, demo_speed))
        await run(parts, hub, on_started=lambda: _say_where(settings, address, progress))


async def _check_child(services: Services, name: str) -> None:
    state = services.states()[name]
    if state is not ChildState.RUNNING:
        raise PartDown(state.value)


def _address(mqtt: MqttAccess) -> MqttAddress:
    return MqttAddress(mqtt.host, mqtt.port, mqtt.username, mqtt.password, mqtt.tls)


def _say_where(settings: Settings, address: MqttAddress, progress: Progress) -> None:
    base = f"http://{settings.http_host}:{settings.http_port}"
    progress("")
    progress(f"  live page / 水位画面    {base}/")
    progress(f"  devices / 機器          {base}/devices")
    progress(f"  NGSI-LD API             {base}/ngsi-ld/v1/entities?type=...")
    progress(f"  state / 稼働状態        {base}/readyz   metrics: {base}/metrics")
    progress(f"  MQTT                    {address.host}:{address.port}  topic minamo/v1/<device>/readings")
    progress("  alerts / 警報           minamo alerts --follow")
    progress("  stop / 停止             Ctrl-C")
    progress("")


def _add_credentials(parts: Parts, hub: Hub, services: Services) -> None:
    """Keep the broker's password file in step with the device registry."""
    changed = asyncio.Event()
    changed.set()
    parts.wake_on(CACHE_CHANNEL, changed.set)

    async def sync() -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CERTIFICATE_S):
                    await changed.wait()
            changed.clear()
            await services.renew_mqtt_certificate()
            await services.sync_credentials(
                MqttCredential(found.key, found.password_hash, found.address)
                for found in await hub.devices.credentials()
                if found.key != HUB_USER
            )

    parts.add("mqtt credentials", sync())


async def _replay_child(settings: Settings, address: MqttAddress, speed: float) -> None:
    """The simulated devices as a process of their own, as they would be; when the record ends, so do they."""
    command = [sys.executable, "-m", "api.cli", "replay", "--speed", str(speed)]
    command += ["--mqtt", f"{address.host}:{address.port}"]
    command += ["--url", f"http://{settings.http_host}:{settings.http_port}"]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        await process.wait()
        await asyncio.Event().wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


@contextlib.asynccontextmanager
async def _own_hub(settings: Settings) -> AsyncIterator[tuple[Hub, str]]:
    """The hub of a single role: on the configured database, or the embedded one of a running ``minamo up``."""
    if settings.database_url is None:
        raise click.ClickException(
            "set MINAMO_DATABASE_URL, or use 'minamo up' / MINAMO_DATABASE_URL を設定するか minamo up を使ってください"
        )
    url = settings.database_url.get_secret_value()
    async with open_hub(settings, url) as hub:
        yield hub, url


async def serve(settings: Settings) -> None:
    """The HTTP API."""
    async with _own_hub(settings) as (hub, url), maintained(hub, url):
        parts = Parts()
        add_api(parts, hub)
        await run(parts, hub)


async def ingest(settings: Settings, health_port: int | None) -> None:
    """MQTT ingest."""
    if settings.mqtt_url is None:
        raise click.ClickException("set MINAMO_MQTT_URL / MINAMO_MQTT_URL を設定してください")
    async with _own_hub(settings) as (hub, url), maintained(hub, url):
        parts = Parts()
        add_ingest(parts, hub, _address(mqtt_access(settings.mqtt_url.get_secret_value())))
        if health_port is not None:
            add_health_only(parts, health_port)
        await run(parts, hub)


async def ingest_writer(settings: Settings, descriptor: int) -> None:
    """One of several processes that write what one receives; started by that one, and it ends with it."""
    stream = socket.socket(fileno=descriptor)
    stream.setblocking(False)
    async with _own_hub(settings) as (hub, _):
        parts = Parts()
        add_ingest_writer(parts, hub, stream)
        try:
            await run(parts, hub)
        except RoleEnded as exc:
            if not isinstance(exc.__cause__, ReceiverGone):
                raise


async def work(settings: Settings, health_port: int | None) -> None:
    """The workers."""
    async with (
        _own_hub(settings) as (hub, url),
        maintained(hub, url),
        make_sender(settings, hub.database, hub.sealer) as sender,
    ):
        parts = Parts()
        add_workers(parts, hub, sender)
        if health_port is not None:
            add_health_only(parts, health_port)
        await run(parts, hub)


async def migrate_only(settings: Settings, progress: Progress) -> None:
    """Migrate the configured database, or the embedded one (started for the purpose)."""
    if settings.database_url is not None:
        revision = await asyncio.to_thread(migrate, settings.database_url.get_secret_value())
    else:
        async with EmbeddedHub(settings, progress=progress) as services:
            revision = await asyncio.to_thread(migrate, services.database_url)
    progress(f"schema {revision}")


async def mqtt_files(settings: Settings, target: Target, *, watch: bool, progress: Progress) -> None:
    """Password file and access control list for the city's mosquitto."""
    async with _own_hub(settings) as (hub, _):
        await keep_files(hub.database, target, hub_password(settings), watch=watch, progress=progress)
