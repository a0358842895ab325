# SPDX-License-Identifier: Apache-2.0
"""The commands that talk to a running hub."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click
import orjson

from api.cli.hub_client import HubClient
from api.replay.hydrographs import demo_stations
from api.replay.run import ReplayOptions, replay
from broker.times import parse_time


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
    parent = os.getppid()
    # A hub that started this replay and was killed has left it to another parent: nobody watches any more.
    options = ReplayOptions(speed, timedelta(hours=backfill_hours), limit, lambda: os.getppid() == parent)
    count = replay(client, host, port, demo_stations(), options, progress)
    progress(f"the record ends, {count} readings / 記録の終わり（{count} 件）")


def print_json(document: Any) -> None:
    """Readable JSON on standard output."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


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
