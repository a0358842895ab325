# SPDX-License-Identifier: Apache-2.0
"""``minamo store``: how history is stored, how long it is kept, and moving it into TimescaleDB.

They work on the database itself: the configured one, or that of a ``minamo up`` that runs on this machine.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import click

from broker.errors import MinamoError


@click.group()
def store() -> None:
    """How history is stored / 履歴の保存."""


@store.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def status(as_json: bool) -> None:
    """Mode, partitions or chunks, sizes, compression, rollups, policies / 保存の状態."""
    _run("show_status", as_json)


@store.group()
def retention() -> None:
    """How long history is kept, by tenant and type of entity / 履歴の保存期間."""


_tenant = click.option("--tenant", default="default", show_default=True, help="Tenant / テナント")
_type = click.option("--type", "entity_type", help="Type (IRI or term); default: all others / 型。省略時はその他すべて")


@retention.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def list_rules(as_json: bool) -> None:
    """The rules of all tenants, and what holds without one / 一覧."""
    _run("list_rules", as_json)


@retention.command("set")
@_tenant
@_type
@click.option("--raw", type=int, help="Days that instances are kept / 個々の値の日数")
@click.option("--10m", "ten_minutes", type=int, help="Days of rollups of 10 minutes / 10分集計の日数")
@click.option("--1h", "hours", type=int, help="Days of rollups of an hour / 1時間集計の日数")
@click.option("--1d", "days", type=int, help="Days of rollups of a day / 日集計の日数")
def set_rule(
    tenant: str, entity_type: str | None, raw: int | None, ten_minutes: int | None, hours: int | None, days: int | None
) -> None:
    """Set a rule; what is not given is kept for ever / 規則を決める（省略した段は無期限）."""
    _run("set_rule", tenant, entity_type, (raw, ten_minutes, hours, days))


@retention.command("remove")
@_tenant
@_type
def remove_rule(tenant: str, entity_type: str | None) -> None:
    """Take a rule away / 規則を取り消す."""
    _run("set_rule", tenant, entity_type, None)


@retention.command("run")
def run_now() -> None:
    """Remove what is over now, and not only at the next day / 今すぐ適用する."""
    _run("retire")


@store.command("migrate-to-timescale")
@click.option("--undo", is_flag=True, help="Give up a move that was interrupted / 中断した移行を取り消す")
def migrate_to_timescale(undo: bool) -> None:
    """Move history from native partitions into TimescaleDB; goes on where it was interrupted / TimescaleDB に移す."""
    _run("undo" if undo else "move")


@store.command()
def seal() -> None:
    """Seal the secrets of others with the first key of secret_keys_file / 秘密を先頭の鍵で暗号化し直す."""
    _run("seal_secrets")


def _run(name: str, *arguments: Any) -> None:
    """Do what this function of :mod:`api.cli.store_work` does; it is loaded only for this."""
    try:
        asyncio.run(getattr(import_module("api.cli.store_work"), name)(*arguments))
    except MinamoError as exc:
        raise click.ClickException(str(exc)) from exc
