# SPDX-License-Identifier: Apache-2.0
"""``minamo quarantine``: messages that could not be taken, what is wrong with them, and trying again."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
import orjson

from api.cli.hub_client import HubClient
from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, in_words, make_client

_PATH: Final = "/api/v1/quarantine"
_BYTES_A_LINE: Final = 16


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which messages."""
    for option in (
        click.option("--to", "until", help="Arrived before, ISO 8601 / この時刻より前"),
        click.option("--from", "since", help="Arrived then or later, ISO 8601 / この時刻以降"),
        click.option("--text", help="In key, topic or detail / 文字で探す"),
        click.option("--device", help="The device's key / 機器のキー"),
        click.option("--reason", help="Held for this reason / 理由"),
    ):
        command = option(command)
    return command


def _wanted(given: dict[str, Any]) -> dict[str, Any]:
    names = {"since": "from", "until": "to"}
    return {names.get(name, name): value for name, value in given.items() if value is not None}


@click.group()
def quarantine() -> None:
    """Messages that could not be taken / 受け入れできなかったメッセージ."""


@quarantine.command("list")
@client_options
@_filter_options
@click.option("--state", default="held", show_default=True, help="held, replayed, dropped or all")
@click.option("--limit", default=50, show_default=True)
def list_quarantine(url: str | None, tenant: str | None, state: str, limit: int, **given: Any) -> None:
    """Messages with the reason, newest first / 一覧."""

    def work() -> None:
        found = make_client(url, tenant).get(_PATH, state=state, limit=limit, **_wanted(given))
        for message in found["messages"]:
            click.echo(
                f"{message['id']:8} {message['receivedAt']:27} {message['state']:8} {message['reason']:18} "
                f"{message['topic']}  {message['detail']}"
            )

    guarded(work)


@quarantine.command("summary")
@client_options
def summary(url: str | None, tenant: str | None) -> None:
    """How many are held, by device and reason / 機器と理由ごとの件数."""

    def work() -> None:
        for group in make_client(url, tenant).get(f"{_PATH}/summary")["groups"]:
            click.echo(
                f"{group['count']:8} {group['reason']:18} {group['deviceKey'] or '-':32} "
                f"{group['first']} - {group['last']}"
            )

    guarded(work)


@quarantine.command("show")
@client_options
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def show_quarantine(url: str | None, tenant: str | None, number: int, as_json: bool) -> None:
    """One message: what is wrong, its bytes, and what it would become now / 一件."""

    def work() -> None:
        client = make_client(url, tenant)
        message = client.get(f"{_PATH}/{number}")
        if as_json:
            print_json(message)
            return
        for name in ("topic", "deviceKey", "deviceId", "receivedAt", "reason", "detail", "state", "attempts"):
            click.echo(f"{name:12} {message[name] if message[name] is not None else '-'}")
        for line in hex_lines(base64.b64decode(message["payloadBase64"])):
            click.echo(line)
        fault = client.send(f"{_PATH}/{number}/decode", {})["fault"]
        now = in_words("now", "現在の登録では")
        click.echo(
            f"{now}: {fault['reason'] + ': ' + fault['detail'] if fault else in_words('it can be read', '読めます')}"
        )

    guarded(work)


@quarantine.command("decode")
@client_options
@click.argument("number", type=int)
@click.option("--device", "file", type=click.File("rb"), help="Members of the registration to try, as JSON / 試す登録")
def decode(url: str | None, tenant: str | None, number: int, file: Any) -> None:
    """What message NUMBER would become; nothing is stored / 試し読み."""

    def work() -> None:
        body = {"device": orjson.loads(file.read())} if file is not None else {}
        print_json(make_client(url, tenant).send(f"{_PATH}/{number}/decode", body))

    guarded(work)


@quarantine.command("replay")
@client_options
@_filter_options
@click.argument("number", type=int, required=False)
def replay_quarantine(url: str | None, tenant: str | None, number: int | None, **given: Any) -> None:
    """Try message NUMBER again, or all that are held, or those chosen / 再投入."""

    def work() -> None:
        client = make_client(url, tenant)
        if number is not None:
            print_json(client.post(f"{_PATH}/{number}/replay"))
            return
        total = {"stored": 0, "stillHeld": 0}
        for answer in _rounds(client, _wanted(given)):
            total = {name: total[name] + answer[name] for name in total}
        print_json(total)

    guarded(work)


def _rounds(client: HubClient, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    after: int | None = 0
    while after is not None:
        answer = client.post(f"{_PATH}/replay", after=after, **wanted)
        yield answer
        after = answer.get("last")


@quarantine.command("drop")
@client_options
@click.argument("number", type=int)
def drop_quarantine(url: str | None, tenant: str | None, number: int) -> None:
    """Give message NUMBER up; its row stays as a record / 破棄."""
    guarded(lambda: make_client(url, tenant).delete(f"{_PATH}/{number}"))


def hex_lines(payload: bytes) -> Iterator[str]:
    """The bytes in hexadecimal with their text beside them, sixteen a line."""
    for begin in range(0, len(payload), _BYTES_A_LINE):
        part = payload[begin : begin + _BYTES_A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{begin:06x}  {part.hex(' '):47}  {text}"
