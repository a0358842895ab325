# SPDX-License-Identifier: Apache-2.0
"""The command line ``minamo``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from types import ModuleType
from typing import Any

import click
import orjson

from api.cli import (
    audiences,
    contacts,
    deliveries,
    devices,
    drills,
    forecasts,
    history,
    inboxes,
    polls,
    printing,
    quality,
    quarantine,
    rules,
    silence,
    store,
)
from api.cli.terminal import client_options, guarded, load_settings, make_client, terminal_language
from api.embedded import Text
from api.logs import configure_logging, get_logger
from api.settings import Settings, unknown_variables
from broker.errors import MinamoError

log = get_logger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="minamo")
@click.pass_context
def main(context: click.Context) -> None:
    """Minamo, a city data hub / 都市データハブ「みなも」.

    Settings come from the environment (MINAMO_...) and from minamo.toml; see docs/settings.md.
    """
    context.ensure_object(dict)


def _settings() -> Settings:
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    for name in unknown_variables():
        log.warning("settings.unknown", variable=name)
    return settings


def _server() -> ModuleType:
    """The commands that run the hub; loaded only for them, so that the others start quickly."""
    return import_module("api.cli.server")


def _run(work: Coroutine[Any, Any, None]) -> None:
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except MinamoError as exc:
        cause = f" ({exc.__cause__})" if exc.__cause__ else ""
        raise click.ClickException(f"{exc}{cause}") from exc


@main.command()
@click.option("--demo", is_flag=True, help="Replay a real flood / 実際の出水を再生する")
@click.option("--speed", default=60.0, show_default=True, help="Of the replay: times as fast / 再生の速さ（倍）")
@click.option("--reset", is_flag=True, help="Begin with an empty data folder / データを消して始める")
def up(demo: bool, speed: float, reset: bool) -> None:
    """The whole hub in one command, with its own database and MQTT broker unless told otherwise."""
    settings = _settings()
    if reset:
        _run(_server().reset(settings, _shower(settings)))
    _run(_server().up(settings, demo_speed=speed if demo else None, progress=_shower(settings)))


@main.command()
def serve() -> None:
    """The HTTP API only (any number of processes)."""
    _run(_server().serve(_settings()))


@main.command()
@click.option("--health-port", type=int, help="Serve /healthz, /readyz and /metrics on this loopback port")
def ingest(health_port: int | None) -> None:
    """MQTT ingest only."""
    _run(_server().ingest(_settings(), health_port))


@main.command(hidden=True)
@click.option("--stream", "descriptor", type=int, required=True, help="The descriptor of a connected socket")
def ingest_writer(descriptor: int) -> None:
    """One of several ingest processes; the one that receives starts it."""
    _run(_server().ingest_writer(_settings(), descriptor))


@main.command()
@click.option("--health-port", type=int, help="Serve /healthz, /readyz and /metrics on this loopback port")
def work(health_port: int | None) -> None:
    """Alert rules, subscriptions and deliveries only (any number of processes)."""
    _run(_server().work(_settings(), health_port))


@main.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    settings = _settings()
    _run(_server().migrate_only(settings, _shower(settings)))


@main.command()
@client_options
@click.option("--speed", default=60.0, show_default=True, help="Times as fast as recorded / 再生の速さ（倍）")
@click.option("--backfill-hours", default=48.0, show_default=True, help="Record before the flood that comes first")
@click.option("--mqtt", "mqtt_address", default="127.0.0.1:1883", show_default=True, help="host:port of the broker")
@click.option("--limit", type=int, help="Stop after so many live readings")
def replay(
    url: str | None, tenant: str | None, speed: float, backfill_hours: float, mqtt_address: str, limit: int | None
) -> None:
    """Replay a real flood by simulated devices over MQTT (Dead Run 2019, upper Calder 2025)."""
    client = make_client(url, tenant)
    host, _, port = mqtt_address.rpartition(":")
    guarded(lambda: printing.replay_demo(client, host, int(port), speed, backfill_hours, limit, _progress))


@main.group(invoke_without_command=True)
@client_options
@click.option("--follow", is_flag=True, help="Print alerts as they happen / 警報を流し続ける")
@click.option("--all", "everything", is_flag=True, help="Also those that are cleared / 解除済みも")
@click.option("--limit", default=50, show_default=True)
@click.pass_context
def alerts(
    context: click.Context, url: str | None, tenant: str | None, follow: bool, everything: bool, limit: int
) -> None:
    """Alerts / 警報."""
    if context.invoked_subcommand is None:
        guarded(lambda: printing.print_alerts(make_client(url, tenant), follow, everything, limit))


@alerts.command("rules")
@client_options
def list_rules(url: str | None, tenant: str | None) -> None:
    """The rules as JSON."""
    guarded(lambda: printing.print_json(make_client(url, tenant).get("/api/v1/alert-rules")))


@alerts.command("put-rule")
@client_options
@click.argument("file", type=click.File("rb"))
def put_rule(url: str | None, tenant: str | None, file: Any) -> None:
    """Create or replace the rule in the JSON FILE."""
    guarded(lambda: printing.put_rule(make_client(url, tenant), orjson.loads(file.read())))


def _progress(text: str) -> None:
    click.echo(text, err=True)


def _shower(settings: Settings) -> Callable[[Text | str], None]:
    """Prints texts in the language of the settings; by default that of the terminal, both where it says nothing."""

    def show(text: Text | str) -> None:
        language = settings.language if settings.language != "auto" else terminal_language()
        _progress(text if isinstance(text, str) else text.in_language(language) if language else str(text))

    return show


for command in (
    deliveries.subscriptions,
    deliveries.dead_letters,
    devices.devices,
    drills.drills,
    forecasts.forecasts,
    polls.polls,
    quarantine.quarantine,
    inboxes.inboxes,
    rules.rules,
    rules.alarms,
    audiences.audiences,
    contacts.contacts,
    contacts.notices,
    store.store,
    history.export_history,
    history.import_history,
    quality.quality,
    silence.silence,
):
    main.add_command(command)
