# SPDX-License-Identifier: Apache-2.0
"""What the commands ``minamo store`` do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Final

import click

from api.cli.printing import print_json
from api.cli.terminal import in_words, load_settings
from api.embedded.postgres import EmbeddedPostgres
from api.embedded.state import DataFolder
from api.hub import Hub, open_hub
from api.settings import Settings
from broker.errors import Conflict
from broker.history.retention import ALL_TYPES, Kept
from context_store.database import ALL_TENANTS
from context_store.history.retention import Retention, put_rule, read_rules
from context_store.history.store_status import StoreStatus, store_status
from context_store.history.to_timescale import move_to_timescale, undo_move
from context_store.resealing import reseal
from schemas.contexts import MINAMO_CONTEXT

_TIERS: Final = ("raw", "10m", "1h", "1d")


@asynccontextmanager
async def _opened() -> AsyncIterator[Hub]:
    settings = load_settings()
    async with open_hub(settings, _database_url(settings)) as hub:
        yield hub


def _database_url(settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return EmbeddedPostgres(DataFolder(settings.data_dir)).database_url


async def show_status(as_json: bool) -> None:
    """Print the status."""
    async with _opened() as hub:
        found = await store_status(hub.database)
    now = datetime.now(UTC)
    if as_json:
        print_json(found.document(now))
    else:
        for line in status_lines(found, now):
            click.echo(line)


def status_lines(found: StoreStatus, now: datetime) -> list[str]:
    """The status for people, in the language of the reader."""
    lag = f"{(now - found.rolled_until).total_seconds() / 3600:.1f} h" if found.rolled_until else "-"
    parts = in_words("chunks", "チャンク") if found.mode == "timescale" else in_words("partitions", "パーティション")
    version = f" {found.version} ({found.edition})" if found.mode == "timescale" else ""
    lines = [
        f"{in_words('store', '保存方式')}: {'TimescaleDB' if version else 'PostgreSQL'}{version}",
        f"{in_words('history', '履歴')}: {found.parts} {parts}, {_day(found.first)} - {_day(found.last)}, "
        f"{_size(found.bytes)}, {in_words('about', '約')} {found.rows:,} {in_words('rows', '行')}",
    ]
    if found.compression is not None and found.compression.ratio:
        lines.append(
            f"{in_words('compressed', '圧縮済み')}: {found.compression.chunks} {parts}, "
            f"{_size(found.compression.bytes_before)} -> {_size(found.compression.bytes_after)} "
            f"({found.compression.ratio:.1f} : 1)"
        )
    lines += [
        f"{in_words('rollups', '集計')} {name}: {_size(size)}, {in_words('about', '約')} {rows:,} "
        f"{in_words('rows', '行')}"
        for name, (size, rows) in found.rollups.items()
    ]
    lines.append(
        f"{in_words('rolled until', '集計済みの時刻')}: {found.rolled_until or '-'} "
        f"({in_words('behind', '遅れ')} {lag}), "
        f"{in_words('days noted to be rolled again', '再集計待ちの日')}: {found.notes}"
    )
    lines.append(f"{in_words('retention ran last', '保存期間の適用')}: {found.retired_on or '-'}")
    lines += [
        f"{in_words('policy', 'ポリシー')} {job.name}: {job.config.get('compress_after', '')} "
        f"{in_words('every', '間隔')} {job.every}, {in_words('last', '前回')} {job.last_status or '-'}, "
        f"{in_words('next', '次回')} {job.next_start or '-'}"
        for job in found.jobs
    ]
    return lines


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


async def list_rules(as_json: bool) -> None:
    """Print the rules of all tenants."""
    async with _opened() as hub:
        async with hub.database.transaction(ALL_TENANTS) as connection:
            rules = await read_rules(connection)
        named = {await hub.tenants.name(tenant_id): types for tenant_id, types in rules.items()}
        default = hub.settings.kept
    if as_json:
        print_json(
            {
                "default": _days(default),
                "tenants": {
                    tenant: {name or "*": _days(kept) for name, kept in types.items()}
                    for tenant, types in named.items()
                },
            }
        )
        return
    click.echo(f"{'-':16} {'*':40} {_days_text(default)}")
    for tenant, types in sorted(named.items()):
        for name, kept in sorted(types.items()):
            click.echo(f"{tenant:16} {name or '*':40} {_days_text(kept)}")


def _days(kept: Kept) -> dict[str, int | None]:
    return dict(zip(_TIERS, astuple(kept), strict=True))


def _days_text(kept: Kept) -> str:
    forever = in_words("for ever", "無期限")
    return "  ".join(f"{name} {forever if days is None else days}" for name, days in _days(kept).items())


async def set_rule(tenant: str, entity_type: str | None, days: tuple[int | None, ...] | None) -> None:
    """Set the rule of a type; no ``days`` take it away."""
    kept = None if days is None else Kept(*days)
    async with _opened() as hub:
        tenant_id = await hub.tenants.find(tenant)
        name = ALL_TYPES
        if entity_type:
            name = (await hub.contexts.resolve(MINAMO_CONTEXT)).expand_term(entity_type)
        async with hub.database.transaction(tenant_id) as connection:
            await put_rule(connection, tenant_id, name, kept)
    await list_rules(False)


async def retire() -> None:
    """Remove what is over."""
    async with _opened() as hub:
        removed = await Retention(hub.database, hub.settings.kept).run(datetime.now(UTC))
    click.echo(f"{in_words('removed', '削除')}: {', '.join(removed.partitions) or '-'}, {removed.rows:,}")


async def move() -> None:
    """Move history, telling each partition."""

    def told(name: str, rows: int, left: int) -> None:
        click.echo(f"{name}: {rows:,} {in_words('rows', '行')}, {in_words('left', '残り')} {left}", err=True)

    async with _opened() as hub:
        moved = await move_to_timescale(hub.database, told)
    if moved:
        click.echo(
            in_words(
                "History is in TimescaleDB. Start the processes of the hub anew.",
                "履歴を TimescaleDB に移しました。ハブの各プロセスを再起動してください。",
            )
        )
    else:
        click.echo(in_words("History is in TimescaleDB already.", "履歴はすでに TimescaleDB にあります。"))


async def undo() -> None:
    """Undo an interrupted move."""
    async with _opened() as hub:
        undone = await undo_move(hub.database)
    click.echo(
        in_words("The move is undone.", "移行を取り消しました。")
        if undone
        else in_words("There is nothing to undo.", "取り消すものはありません。")
    )


async def seal_secrets() -> None:
    """Seal with the first key what is not, and what is with another one."""
    async with _opened() as hub:
        if not hub.sealer.has_keys:
            raise Conflict("there are no keys: MINAMO_SECRET_KEYS_FILE is not set")
        async with hub.database.transaction(ALL_TENANTS) as connection:
            done = await reseal(connection, hub.sealer)
    for name, count in done.sealed.items():
        click.echo(in_words(f"sealed: {count} of {name}", f"暗号化: {name} {count} 件"))
    for name, count in done.lost.items():
        click.echo(in_words(f"no key opens {count} of {name}", f"鍵がなく開けない: {name} {count} 件"), err=True)
    if not done.sealed:
        click.echo(in_words("there is nothing to seal", "暗号化するものはありません"))
