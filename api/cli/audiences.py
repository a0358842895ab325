# SPDX-License-Identifier: Apache-2.0
"""``minamo audiences``: what is public, for the briefed, or for staff only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from api.cli.hub_client import HubClient
from api.cli.rules import rules_in
from api.cli.terminal import client_options, guarded, in_words, make_client

_PATH: Final = "/api/v1/audiences"
_PEOPLE: Final = "/api/v1/briefed-people"
_WHAT: Final = ("type", "entityId", "attribute")
_chosen = (
    click.option("--type", "type_", help="Entities of this type / この型のエンティティ"),
    click.option("--entity", help="One entity (URI) / 一つのエンティティ"),
    click.option("--attribute", help="Only this attribute; without: the whole entity / この属性だけ"),
)


@click.group()
def audiences() -> None:
    """What is public, for the briefed, for staff / 公開範囲（一般・説明済み・職員）."""


@audiences.command("list")
@client_options
def list_(url: str | None, tenant: str | None) -> None:
    """What is not public, one line a rule / 一般公開でないものの一覧."""
    guarded(lambda: _print(make_client(url, tenant).get(_PATH)["rules"]))


@audiences.command("set")
@client_options
@click.argument("audience", type=click.Choice(["public", "briefed", "staff"]))
@_chosen[0]
@_chosen[1]
@_chosen[2]
def set_(
    url: str | None, tenant: str | None, audience: str, type_: str | None, entity: str | None, attribute: str | None
) -> None:
    """Say who may see an attribute or entities; `public` takes the rule away / 公開範囲を決める."""
    given = {"type": type_, "entityId": entity, "attribute": attribute}
    what = {name: value for name, value in given.items() if value}

    def work() -> None:
        client = make_client(url, tenant)
        others = [rule for rule in client.get(_PATH)["rules"] if not _same(rule, what)]
        _print(client.put(_PATH, {"rules": [*others, what | {"audience": audience}]})["rules"])

    guarded(work)


@audiences.command("import")
@client_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(url: str | None, tenant: str | None, file: Path) -> None:
    """Put the rules of FILE (YAML or JSON) in the place of all / ファイルの内容に置き換える."""
    guarded(lambda: _print(_put(make_client(url, tenant), file)))


def _put(client: HubClient, file: Path) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = client.put(_PATH, {"rules": rules_in(file)})["rules"]
    return rules


def _same(rule: dict[str, Any], what: dict[str, str]) -> bool:
    return all(rule.get(name) == what.get(name) for name in _WHAT)


def _print(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        which = rule.get("entityId") or rule.get("type") or in_words("all entities", "すべて")
        attribute = rule.get("attribute") or in_words("(the whole entity)", "（エンティティ全体）")
        count = in_words(f"{rule['entityCount']} entities now", f"現在 {rule['entityCount']} 件")
        click.echo(f"{rule['audience']:8} {which}  {attribute}  [{count}]")
    if not rules:
        click.echo(in_words("everything is public", "すべて一般公開"))


@audiences.group()
def people() -> None:
    """Who was briefed, and their tokens / 説明を受けた人・企業とトークン."""


@people.command("list")
@client_options
def list_people(url: str | None, tenant: str | None) -> None:
    """One line each / 一覧."""

    def work() -> None:
        for one in make_client(url, tenant).get(_PEOPLE)["people"]:
            seen = one["lastSeenAt"] or in_words("never used", "未使用")
            click.echo(f"{one['id']:16} {one['status']:7} {one['expiresAt'][:10]}  {one['name']}  [{seen}]")

    guarded(work)


@people.command("add")
@client_options
@click.argument("name")
@click.option("--briefing", required=True, help="What was told and agreed to / 説明し同意を得た内容")
@click.option("--until", help="ISO 8601; default: a year / 期限（省略時は一年）")
def add_person(url: str | None, tenant: str | None, name: str, briefing: str, until: str | None) -> None:
    """Make a token; it is shown this once / トークンを発行（表示は一度だけ）."""
    given = {"name": name, "briefing": briefing} | ({"expiresAt": until} if until else {})

    def work() -> None:
        made = make_client(url, tenant).send(_PEOPLE, given)
        click.echo(f"{made['id']}  {made['expiresAt']}\n{made['token']}")

    guarded(work)


@people.command("revoke")
@client_options
@click.argument("person_id")
def revoke_person(url: str | None, tenant: str | None, person_id: str) -> None:
    """Withdraw a token and its subscriptions / トークンと購読を失効."""
    guarded(lambda: make_client(url, tenant).delete(f"{_PEOPLE}/{quote(person_id, safe='')}"))
