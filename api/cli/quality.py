# SPDX-License-Identifier: Apache-2.0
"""``minamo quality``: people confirm or correct values, through a running hub."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from api.cli.terminal import client_options, guarded, in_words, make_client
from broker.quality.decisions import FLAGS


@click.group()
def quality() -> None:
    """How good values are, and who said so / 測定値の品質の確認・訂正."""


def _path(entity: str, attribute: str) -> str:
    return f"/api/v1/entities/{quote(entity, safe=':')}/quality/{quote(attribute, safe=':')}"


@quality.command("set")
@client_options
@click.argument("entity")
@click.argument("attribute")
@click.option("--from", "start", required=True, help="Observed from, ISO 8601 with offset / 期間の始め")
@click.option("--to", "end", required=True, help="Observed before / 期間の終わり")
@click.option("--quality", "flag", type=click.Choice([str(flag) for flag in FLAGS]), help="What they are / 品質")
@click.option("--value", type=float, help="The right value / 正しい値")
@click.option("--offset", type=float, help="Add this to each / 各値に加える量")
@click.option("--dataset-id", help="Of the instances with this datasetId")
@click.option("--reason", required=True, help="Why it is so / 理由")
def set_quality(
    url: str | None,
    tenant: str | None,
    entity: str,
    attribute: str,
    start: str,
    end: str,
    flag: str | None,
    value: float | None,
    offset: float | None,
    dataset_id: str | None,
    reason: str,
) -> None:
    """Confirm or correct values of ATTRIBUTE of ENTITY / 値の確認・訂正.

    What was measured stays in the history.
    """
    members = {"from": start, "to": end, "quality": flag, "value": value, "offset": offset, "reason": reason}
    document = {name: member for name, member in {**members, "datasetId": dataset_id}.items() if member is not None}

    def work() -> None:
        with make_client(url, tenant) as client:
            answer = client.send(_path(entity, attribute), document)
        click.echo(in_words(f"{answer['changed']} values are {answer['quality']}", _in_japanese(answer)))

    guarded(work)


@quality.command("list")
@client_options
@click.argument("entity")
@click.argument("attribute")
def list_quality(url: str | None, tenant: str | None, entity: str, attribute: str) -> None:
    """Who decided what about ATTRIBUTE of ENTITY, newest first / 確認・訂正の記録."""

    def work() -> None:
        with make_client(url, tenant) as client:
            for decision in client.get(_path(entity, attribute))["decisions"]:
                click.echo(_line(decision))

    guarded(work)


def _line(decision: dict[str, Any]) -> str:
    change = "".join(f" {name}={decision[name]:g}" for name in ("value", "offset") if name in decision)
    return (
        f"{decision['decidedAt']}  {decision['decidedBy']:20}  {decision['from']} - {decision['to']}  "
        f"{decision['quality']}{change}  {decision['changed']}  {decision['reason']}"
    )


def _in_japanese(answer: dict[str, Any]) -> str:
    words = {"good": "正常", "suspect": "疑義あり", "estimated": "推定値", "maintenance": "点検中"}
    return f"{answer['changed']} 件を「{words[answer['quality']]}」としました"
