# SPDX-License-Identifier: Apache-2.0
"""What the commands of the command line do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import click
import orjson

from api.client import HubClient
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
from api.health import PartDown
from api.hub import Hub, open_hub
from api.replay.hydrographs import demo_stations
from api.replay.run import ReplayOptions, replay
from api.roles import Parts, add_api, add_health_only, add_ingest, add_workers, maintained, make_sender, run
from api.settings import Settings
from broker.times import parse_time
from context_store.caches import CHANNEL as CACHE_CHANNEL
from context_store.migrate import migrate
from ingest.client import MqttAddress

Progress = Callable[[Text | str], None]


async def reset(settings: Settings, progress: Progress) -> None:
    """Remove the data folder's contents."""
    await reset_data_folder(settings, progress=progress)


async def up(settings: Settings, *, demo_speed: float | None, progress: Progress) -> None:
    """Everything in one process, over the embedded services where no address is configured."""
    async with (
        EmbeddedHub(settings, progress=progress) as services,
        open_hub(settings, services.database_url) as hub,
        maintained(hub, services.database_url),
        make_sender(settings) as sender,
    ):
        parts = Parts()
        add_api(parts, hub)
        add_workers(parts, hub, sender)
        address = _address(services.mqtt)
        add_ingest(parts, hub, address)
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
            await changed.wait()
            changed.clear()
            devices = await hub.devices.everywhere()
            await services.sync_credentials(
                MqttCredential(device.key, device.password_hash) for device in devices if device.password_hash
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
    async with _own_hub(settings) as (hub, url):
        await asyncio.to_thread(migrate, url)
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


async def work(settings: Settings, health_port: int | None) -> None:
    """The workers."""
    async with (
        _own_hub(settings) as (hub, url),
        maintained(hub, url),
        make_sender(settings) as sender,
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


def replay_demo(
    client: HubClient,
    host: str,
    port: int,
    speed: float,
    backfill_hours: float,
    limit: int | None,
    progress: Callable[[str], None],
) -> None:
    """Register the stations of the demonstration and replay them."""
    options = ReplayOptions(speed, timedelta(hours=backfill_hours), limit)
    count = replay(client, host, port, demo_stations(), options, progress)
    progress(f"the record ends, {count} readings / 記録の終わり（{count} 件）")


def print_json(document: Any) -> None:
    """Readable JSON on standard output."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def print_devices(client: HubClient) -> None:
    """One line a device."""
    for device in client.get("/api/v1/devices")["devices"]:
        fields = ",".join(mapping["field"] for mapping in device["attributes"])
        click.echo(f"{device['id']:24} {device['key']:24} {fields:16} {device['entityId']}  {device['name']}")


def add_devices(client: HubClient, document: Any) -> None:
    """Register one device or an array of them."""
    for device in document if isinstance(document, list) else [document]:
        answer = client.put(f"/api/v1/devices/{device.get('id')}", device)
        click.echo(f"{answer['id']}: {answer['entityId']}")
        if mqtt := answer.get("mqtt"):
            click.echo(f"  topic    {mqtt['topic']}\n  username {mqtt['username']}\n  password {mqtt['password']}")
            click.echo("  (the password is shown only now / パスワードは今だけ表示されます)")


def print_quarantine(client: HubClient, state: str, reason: str | None, limit: int) -> None:
    """One line a message."""
    found = client.get("/api/v1/quarantine", state=state, reason=reason, limit=limit)["messages"]
    for message in found:
        click.echo(
            f"{message['id']:8} {message['receivedAt']:27} {message['state']:8} {message['reason']:18} "
            f"{message['topic']}  {message['detail']}"
        )


def print_alerts(client: HubClient, follow: bool, everything: bool, limit: int) -> None:
    """Open alerts, or all, oldest first; with ``follow`` the ones to come."""
    state = "all" if everything else "open"
    for alert in reversed(client.get("/api/v1/alerts", state=state, limit=limit)["alerts"]):
        click.echo(_alert_line(alert))
    if follow:
        for alert in client.events("/api/v1/alerts/stream"):
            click.echo(_alert_line(alert))
            sys.stdout.flush()


def _alert_line(alert: dict[str, Any]) -> str:
    """``2026-11-21 16:40:12 ▲ 発生 氾濫注意水位 ...``: state in a sign and in words, time in this machine's zone."""
    cleared = alert["status"] == "cleared"
    moment = parse_time(alert["clearedAt"] if cleared else alert["raisedAt"]).astimezone()
    sign = "▽ 解除 cleared" if cleared else "▲ 発生 raised "
    japanese = os.environ.get("LANG", "ja").startswith(("ja", "C"))
    headline = alert.get("headlineJa" if japanese else "headlineEn") or alert["stage"]
    peak = f"  peak {alert['peakValue']:.2f}" if cleared else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}  {sign}  {headline}  ({alert['value']:.2f}){peak}"


def put_rule(client: HubClient, document: dict[str, Any]) -> None:
    """Create or replace one rule."""
    print_json(client.put(f"/api/v1/alert-rules/{document.get('id')}", document))
