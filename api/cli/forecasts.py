# SPDX-License-Identifier: Apache-2.0
"""``minamo forecasts``: what models say, and how good they turned out to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson

from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, in_words, make_client


@click.group()
def forecasts() -> None:
    """Forecasts of models, and their verification / モデルの予測と検証."""


@forecasts.command("list")
@client_options
@click.option("--entity", help="URI of a station / 観測局")
@click.option("--model")
def list_(url: str | None, tenant: str | None, entity: str | None, model: str | None) -> None:
    """The newest forecast of each station and model / 最新の予測."""

    def work() -> None:
        for one in make_client(url, tenant).get("/api/v1/forecasts", entityId=entity, model=model)["forecasts"]:
            click.echo(_line(one))

    guarded(work)


@forecasts.command("post")
@client_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def post(url: str | None, tenant: str | None, file: Path) -> None:
    """Put a run (JSON) in / 計算結果（JSON）を登録."""
    guarded(lambda: print_json(make_client(url, tenant).send("/api/v1/forecasts", orjson.loads(file.read_bytes()))))


@forecasts.command("runs")
@client_options
@click.option("--model")
@click.option("--limit", default=20, show_default=True)
def runs(url: str | None, tenant: str | None, model: str | None, limit: int) -> None:
    """Runs that are kept, newest first / 保存されている計算結果."""

    def work() -> None:
        for run in make_client(url, tenant).get("/api/v1/forecast-runs", model=model, limit=limit)["runs"]:
            click.echo(f"{run['runId']:60} {run['status']:8} {run['receivedAt']}")

    guarded(work)


@forecasts.command("show")
@client_options
@click.argument("run_id")
def show(url: str | None, tenant: str | None, run_id: str) -> None:
    """One run as JSON / 一件を JSON で."""
    guarded(lambda: print_json(make_client(url, tenant).get(f"/api/v1/forecast-runs/{quote(run_id, safe='')}")))


@forecasts.command("verify")
@client_options
@click.argument("entity")
@click.option("--model", help="Default: the hub's own / 省略時はハブ自身の外挿")
@click.option("--attribute", default="waterLevel", show_default=True)
@click.option("--from", "start", help="ISO 8601; default: 30 days ago / 省略時は30日前")
@click.option("--to", "end", help="ISO 8601; default: now / 省略時は現在")
@click.option("--json", "as_json", is_flag=True)
def verify(
    url: str | None,
    tenant: str | None,
    entity: str,
    model: str | None,
    attribute: str,
    start: str | None,
    end: str | None,
    as_json: bool,
) -> None:
    """Errors by lead time, beside those of persistence / リードタイム別の誤差（持続予測と並べて）."""

    def work() -> None:
        asked = {"entityId": entity, "model": model, "attribute": attribute, "from": start, "to": end}
        answer = make_client(url, tenant).get("/api/v1/forecast-verification", **asked)
        if as_json:
            print_json(answer)
        else:
            click.echo(_table(answer))

    guarded(work)


def _line(one: dict[str, Any]) -> str:
    expired = in_words("  (expired)", "（期限切れ）") if one["status"] == "expired" else ""
    highest = max(range(len(one["values"])), key=one["values"].__getitem__)
    return (
        f"{one['entityId']}  {one['attribute']}  {one['model']}  {one['issuedAt']}{expired}  "
        + in_words("highest", "最大")
        + f" {one['values'][highest]:.2f} {one['unitCode'] or ''} {one['validAt'][highest]}"
    )


def _table(answer: dict[str, Any]) -> str:
    head = in_words(
        "lead (min)     n    bias     MAE    RMSE | persistence MAE    RMSE | hits/misses/false alarms",
        "先（分）       数    偏差     MAE    RMSE | 持続予測    MAE    RMSE | 的中/見逃し/空振り",
    )
    lines = [f"{answer['model']}  {answer['entityId']}  {answer['from']} - {answer['to']}", head]
    for one in answer["leads"]:
        lead = f"{one['leadSeconds'] / 60:.0f}" if one["leadSeconds"] else in_words("more", "それ以上")
        said, stays = one["forecast"], one["persistence"]
        stages = "  ".join(
            f"{stage} {table['hits']}/{table['misses']}/{table['falseAlarms']}"
            for stage, table in one["stages"].items()
        )
        lines.append(
            f"{lead:>10} {said['count']:5} {_number(said['bias'])} {_number(said['mae'])} {_number(said['rmse'])} | "
            f"           {_number(stays['mae'])} {_number(stays['rmse'])} | {stages}"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "      -" if value is None else f"{value:7.3f}"
