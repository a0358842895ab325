# SPDX-License-Identifier: Apache-2.0
"""``minamo audiences``: what is public, for the briefed, or for staff only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from api.cli.hub_client import HubClient
from api.cli.rules import rules_in
from api.cli.terminal import client_options, guarded, in_words, make_client

_PATH: Final = "/api/v1/audiences"
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
