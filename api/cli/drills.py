# SPDX-License-Identifier: Apache-2.0
"""``minamo drills``: exercises with a recorded flood or with values that somebody sends."""

from __future__ import annotations

from typing import Any, Final

import click

from api.cli.hub_client import HubClient
from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, in_words, make_client

_DRILLS: Final = "/api/v1/drills"


@click.group()
def drills() -> None:
    """Drills, which reach nobody but the chosen / 訓練（選んだ宛先以外には届きません）."""


@drills.command("start")
@client_options
@click.argument("title")
@click.option("--from", "start", help="Of the record, ISO 8601; without it only values that are sent / 記録の始め")
@click.option("--to", "end", help="Of the record / 記録の終わり")
@click.option("--speed", type=float, default=1.0, show_default=True, help="Times as fast / 何倍速")
@click.option("--station", "stations", multiple=True, help="URI; default: all that rules watch / 観測局")
@click.option("--contact", "contacts", multiple=True, help="Id of somebody who takes part / 参加する連絡先")
@click.option("--recipient", "recipients", multiple=True, help="Webhook that gets its alerts / 送り先")
@click.option("--by", help="Your name / 操作者名")
def start_drill(
    url: str | None,
    tenant: str | None,
    title: str,
    start: str | None,
    end: str | None,
    speed: float,
    stations: tuple[str, ...],
    contacts: tuple[str, ...],
    recipients: tuple[str, ...],
    by: str | None,
) -> None:
    """Begin a drill / 訓練を始める."""
    plan: dict[str, Any] = {"title": title, "speed": speed, "entityIds": stations}
    plan |= {"recipients": recipients, "contacts": contacts}
    plan |= {name: value for name, value in (("from", start), ("to", end), ("by", by)) if value is not None}

    def work() -> None:
        drill = make_client(url, tenant).send(_DRILLS, plan)
        click.echo(
            f"{drill['drillId']}  " + in_words("look at it with --tenant ", "次で見る: --tenant ") + drill["tenant"]
        )

    guarded(work)


@drills.command("list")
@client_options
def list_drills(url: str | None, tenant: str | None) -> None:
    """All drills, the newest first / 一覧."""

    def work() -> None:
        for drill in make_client(url, tenant).get(_DRILLS)["drills"]:
            state = in_words("ended", "終了") if drill["endedAt"] else in_words("running", "実施中")
            click.echo(f"{drill['drillId']:24} {drill['startedAt']:22} {state}  {drill['title']}")

    guarded(work)


@drills.command("send")
@client_options
@click.argument("drill_id")
@click.argument("entity_id")
@click.argument("value", type=float)
@click.option("--attribute", default="waterLevel", show_default=True)
def send_value(
    url: str | None, tenant: str | None, drill_id: str, entity_id: str, value: float, attribute: str
) -> None:
    """Send a value into a drill, as if it were measured now / 値を入れる."""
    body = {"entityId": entity_id, "attribute": attribute, "value": value}
    guarded(lambda: make_client(url, tenant).send(f"{_DRILLS}/{drill_id}/values", body))


@drills.command("report")
@client_options
@click.argument("drill_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def report(url: str | None, tenant: str | None, drill_id: str, as_json: bool) -> None:
    """What happened when, how soon somebody answered / 記録."""

    def work() -> None:
        found = make_client(url, tenant).get(f"{_DRILLS}/{drill_id}")
        if as_json:
            print_json(found)
        else:
            _print_report(found)

    guarded(work)


@drills.command("end")
@client_options
@click.argument("drill_id")
def end_drill(url: str | None, tenant: str | None, drill_id: str) -> None:
    """End a drill; nothing goes out of it any more / 終える."""

    def work() -> None:
        client: HubClient = make_client(url, tenant)
        client.send(f"{_DRILLS}/{drill_id}/end", {})

    guarded(work)


def _print_report(found: dict[str, Any]) -> None:
    click.echo(
        in_words("[EXERCISE] ", "【訓練】") + f"{found['title']}  {found['startedAt']} … {found['endedAt'] or ''}"
    )
    for step in found["steps"]:
        name = in_words(step["stationName"]["en"], step["stationName"]["ja"])
        by = f"  {step['by']}" if step["by"] else ""
        click.echo(f"{step['at']}  {step['kind']:16} {step['stage']:20} {name}{by}")
    for answer in found["answers"]:
        took = in_words("not answered", "応答なし") if answer["seconds"] is None else f"{answer['seconds']:.0f} s"
        click.echo(f"{answer['alarmId']}  {answer['stage']}  {took}  {answer['by'] or ''}")
    for delivery in found["deliveries"]:
        click.echo(f"{delivery['destination']}  {delivery['state']}  {delivery['count']}")
