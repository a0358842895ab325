# SPDX-License-Identifier: Apache-2.0
"""``minamo subscriptions`` and ``minamo dead-letters``: how deliveries go, and what was given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from api.cli.hub_client import HubClient
from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, in_words, make_client

_SUBSCRIPTIONS: Final = "/api/v1/subscriptions"
_LETTERS: Final = "/api/v1/dead-letters"


@click.group()
def subscriptions() -> None:
    """How the deliveries of subscriptions go / サブスクリプションの配信状況."""


@subscriptions.command("list")
@client_options
@click.option("--limit", default=100, show_default=True)
@click.option("--offset", default=0, show_default=True)
def list_subscriptions(url: str | None, tenant: str | None, limit: int, offset: int) -> None:
    """One line each: state, what waits and since when, what was given up, the receiver's last error / 一覧."""
    guarded(lambda: print_subscriptions(make_client(url, tenant), limit, offset))


@subscriptions.command("show")
@client_options
@click.argument("subscription_id")
def show_subscription(url: str | None, tenant: str | None, subscription_id: str) -> None:
    """One subscription, whole / 詳細."""
    guarded(lambda: print_json(make_client(url, tenant).get(f"{_SUBSCRIPTIONS}/{subscription_id}")))


@subscriptions.command("catch-up")
@client_options
@click.argument("subscription_id")
@click.option("--after", type=int, required=True, help="The last number the receiver has / 受信側にある最後の番号")
@click.option("--partial", is_flag=True, help="Also when some are not kept any more / 一部が消えていても送る")
def catch_up(url: str | None, tenant: str | None, subscription_id: str, after: int, partial: bool) -> None:
    """Send everything behind a number again / ある番号より後を送り直す."""
    document = {"after": after, "partial": partial}
    guarded(lambda: print_json(make_client(url, tenant).send(f"{_SUBSCRIPTIONS}/{subscription_id}/catch-up", document)))


@click.group("dead-letters")
def dead_letters() -> None:
    """Deliveries that were given up / 配信不能の通知."""


@dead_letters.command("list")
@client_options
@click.option("--subscription", help="Only of this subscription / このサブスクリプションのみ")
@click.option("--before", type=int, help="Older than this number / この番号より古いもの")
@click.option("--limit", default=50, show_default=True)
def list_letters(url: str | None, tenant: str | None, subscription: str | None, before: int | None, limit: int) -> None:
    """One line each, newest first / 一覧（新しい順）."""
    guarded(lambda: print_letters(make_client(url, tenant), subscription, before, limit))


@dead_letters.command("show")
@client_options
@click.argument("number", type=int)
def show_letter(url: str | None, tenant: str | None, number: int) -> None:
    """One, with body, headers and the receiver's answers / 本文・ヘッダー・応答を含む詳細."""
    guarded(lambda: print_json(make_client(url, tenant).get(f"{_LETTERS}/{number}")))


def _which(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--subscription", help="All of this subscription / このサブスクリプションのすべて")(command)
    return click.argument("number", type=int, required=False)(command)


@dead_letters.command("replay")
@client_options
@_which
@click.option("--all", "everything", is_flag=True, help="All of the tenant / テナントのすべて")
def replay_letters(
    url: str | None, tenant: str | None, number: int | None, subscription: str | None, everything: bool
) -> None:
    """Deliver again: NUMBER, all of a subscription, or all / 再送する."""
    if [number is not None, subscription is not None, everything].count(True) != 1:
        raise click.UsageError(in_words("NUMBER, --subscription or --all", "番号、--subscription、--all のどれか一つ"))
    path = f"{_LETTERS}/{number}/replay" if number is not None else f"{_LETTERS}/replay"
    guarded(lambda: print_json(make_client(url, tenant).post(path, subscriptionId=subscription)))


@dead_letters.command("drop")
@client_options
@_which
def drop_letters(url: str | None, tenant: str | None, number: int | None, subscription: str | None) -> None:
    """Give up for good: NUMBER, or all of a subscription / 破棄する."""
    if (number is None) == (subscription is None):
        raise click.UsageError(in_words("NUMBER or --subscription", "番号か --subscription のどちらか"))
    path = f"{_LETTERS}/{number}" if number is not None else _LETTERS
    guarded(lambda: make_client(url, tenant).delete(path, subscriptionId=subscription))


def print_subscriptions(client: HubClient, limit: int, offset: int) -> None:
    """A heading and one line a subscription."""
    click.echo(
        f"{in_words('state', '状態'):8} {in_words('waits', '待ち'):>8} {in_words('since', '経過'):>9} "
        f"{in_words('way', '送信中'):>5} {in_words('dead', '不能'):>6} {in_words('number', '番号'):>8}  "
        f"{in_words('subscription', 'サブスクリプション')}"
    )
    for found in client.get(_SUBSCRIPTIONS, limit=limit, offset=offset)["subscriptions"]:
        click.echo(subscription_line(found))


def subscription_line(found: dict[str, Any]) -> str:
    """State, waiting, age of the oldest, under way, dead letters, last number, id and where to; then what is wrong."""
    age = found["oldestPendingSeconds"]
    line = (
        f"{found['status']:8} {found['pending']:8} {'-' if age is None else f'{age:.0f} s':>9} {found['inFlight']:5} "
        f"{found['deadLetters']:6} {found['lastSequence']:8}  {found['id']} -> {found['endpoint']}"
    )
    failed = found["lastFailure"] and (not found["lastSuccess"] or found["lastSuccess"] < found["lastFailure"])
    return f"{line}\n{'':9}{in_words('fails', '失敗')}: {found['lastError']}" if failed else line


def print_letters(client: HubClient, subscription: str | None, before: int | None, limit: int) -> None:
    """One line a dead letter."""
    for letter in client.get(_LETTERS, subscriptionId=subscription, before=before, limit=limit)["deadLetters"]:
        click.echo(
            f"{letter['id']:8} {letter['diedAt']:27} {letter['subscriptionId'] or letter['kind']} "
            f"#{letter['sequence']} -> {letter['destination']}  {letter['lastError']}"
        )
