# SPDX-License-Identifier: Apache-2.0
"""``minamo inboxes``: where other NGSI brokers (Orion, Orion-LD) send their notifications."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, in_words, make_client

_INBOXES: Final = "/api/v1/inboxes"


def _path(inbox_id: str, *more: str) -> str:
    return "/".join((_INBOXES, quote(inbox_id, safe=""), *more))


@click.group()
def inboxes() -> None:
    """Notifications of an Orion or Orion-LD, taken in / 既存 Orion からの通知の受信口."""


@inboxes.command("list")
@client_options
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def list_inboxes(url: str | None, tenant: str | None, as_json: bool) -> None:
    """All of them, when the last notification came, what was wrong / 一覧."""

    def work() -> None:
        found = make_client(url, tenant).get(_INBOXES)
        if as_json:
            print_json(found)
            return
        for inbox in found["inboxes"]:
            click.echo(f"{inbox['id']:24} {inbox['lastReceivedAt'] or '-':27} {inbox['url']}")
            if inbox["lastFault"]:
                click.echo(f"  {inbox['lastFaultAt']}  {inbox['lastFault']}")

    guarded(work)


@inboxes.command("add")
@client_options
@click.argument("inbox_id")
@click.option("--file", type=click.File("rb"), help="Names and time zone, as JSON / 名前の対応など（JSON）")
def add_inbox(url: str | None, tenant: str | None, inbox_id: str, file: Any) -> None:
    """Create or change one; its token is shown once / 登録・変更."""

    def work() -> None:
        document = orjson.loads(file.read()) if file is not None else {}
        _tell(make_client(url, tenant).put(_path(inbox_id), document))

    guarded(work)


@inboxes.command("new-token")
@client_options
@click.argument("inbox_id")
def new_token(url: str | None, tenant: str | None, inbox_id: str) -> None:
    """Another token; the old one ends at once / トークンの再発行."""
    guarded(lambda: _tell(make_client(url, tenant).put(_path(inbox_id, "token"), {})))


@inboxes.command("remove")
@client_options
@click.argument("inbox_id")
def remove_inbox(url: str | None, tenant: str | None, inbox_id: str) -> None:
    """Take nothing there any more; entities and history stay / 削除."""
    guarded(lambda: make_client(url, tenant).delete(_path(inbox_id)))


def _tell(inbox: dict[str, Any]) -> None:
    click.echo(f"  url     {inbox['url']}")
    if token := inbox.get("token"):
        click.echo(f"  header  Authorization: Bearer {token}")
        click.echo("  " + in_words("(the token is shown only now)", "（トークンは今だけ表示されます）"))
