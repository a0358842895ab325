# SPDX-License-Identifier: Apache-2.0
"""``minamo polls``: documents of cities and prefectures that are fetched on a schedule."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, in_words, make_client

_POLLS: Final = "/api/v1/polls"


def _path(poll_id: str, *more: str) -> str:
    return "/".join((_POLLS, quote(poll_id, safe=""), *more))


@click.group()
def polls() -> None:
    """Open data of cities and prefectures, fetched on a schedule / 定期取得（市や県の JSON・CSV・XML）."""


@polls.command("list")
@client_options
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def list_polls(url: str | None, tenant: str | None, as_json: bool) -> None:
    """All of them, and how they go / 一覧と状態."""

    def work() -> None:
        found = make_client(url, tenant).get(_POLLS)
        if as_json:
            print_json(found)
            return
        for poll in found["polls"]:
            click.echo(_line(poll))

    guarded(work)


@polls.command("show")
@client_options
@click.argument("poll_id")
def show_poll(url: str | None, tenant: str | None, poll_id: str) -> None:
    """One, whole / 一件."""
    guarded(lambda: print_json(make_client(url, tenant).get(_path(poll_id))))


@polls.command("put")
@client_options
@click.argument("file", type=click.File("rb"))
def put_poll(url: str | None, tenant: str | None, file: Any) -> None:
    """Create or change the poll in the JSON FILE / 登録・変更."""

    def work() -> None:
        document = orjson.loads(file.read())
        print_json(make_client(url, tenant).put(_path(str(document.get("id"))), document))

    guarded(work)


@polls.command("try")
@client_options
@click.argument("file", type=click.File("rb"))
def try_poll(url: str | None, tenant: str | None, file: Any) -> None:
    """What the document of the poll in FILE holds now; nothing is stored / 試し取得（保存しない）."""

    def work() -> None:
        document = orjson.loads(file.read())
        print_json(make_client(url, tenant).send(_path(str(document.get("id")), "preview"), document))

    guarded(work)


@polls.command("run")
@client_options
@click.argument("poll_id")
def run_poll(url: str | None, tenant: str | None, poll_id: str) -> None:
    """Fetch it now / 今すぐ取得."""
    guarded(lambda: click.echo(_line(make_client(url, tenant).post(_path(poll_id, "run")))))


@polls.command("pause")
@client_options
@click.argument("poll_id")
def pause_poll(url: str | None, tenant: str | None, poll_id: str) -> None:
    """Stop fetching it / 停止."""
    guarded(lambda: click.echo(_line(make_client(url, tenant).post(_path(poll_id, "pause")))))


@polls.command("resume")
@client_options
@click.argument("poll_id")
def resume_poll(url: str | None, tenant: str | None, poll_id: str) -> None:
    """Go on / 再開."""
    guarded(lambda: click.echo(_line(make_client(url, tenant).post(_path(poll_id, "resume")))))


@polls.command("remove")
@client_options
@click.argument("poll_id")
def remove_poll(url: str | None, tenant: str | None, poll_id: str) -> None:
    """Remove it; devices, entities and history stay / 削除（機器と履歴は残る）."""
    guarded(lambda: make_client(url, tenant).delete(_path(poll_id)))


def _line(poll: dict[str, Any]) -> str:
    """``shizuoka  taken  last 2026-...  next 2026-...  121 records, 3 unregistered``."""
    state = poll["state"]
    outcome = state.get("outcome", "-")
    words = {
        "taken": in_words("taken", "取得済み"),
        "unchanged": in_words("unchanged", "変更なし"),
        "failed": in_words("FAILED", "失敗"),
    }
    told = in_words("paused", "停止中") if poll["paused"] else words.get(outcome, in_words("not yet", "未取得"))
    line = (
        f"{poll['id']:24} {told:9}  {in_words('last', '前回')} {state.get('lastSuccessAt', '-'):20}  "
        f"{in_words('next', '次回')} {poll['nextDueAt'] or '-':27}"
    )
    if "records" in state:
        line += f"  {state['records']} {in_words('records', '件')}, {state['stored']} {in_words('stored', '保存')}"
        if state["unregisteredCount"]:
            line += f", {state['unregisteredCount']} {in_words('unregistered', '未登録')}"
    return line + (f"\n  {state['error']}" if outcome == "failed" else "")
