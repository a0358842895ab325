# SPDX-License-Identifier: Apache-2.0
"""``minamo contacts`` and ``minamo notices``: who is told about alarms, and who was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import orjson

from api.cli.hub_client import HubClient
from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, make_client

_MEMBERS: Final = {
    "contacts": "contacts",
    "contactGroups": "contact-groups",
    "notificationPlans": "notification-plans",
}


@click.group()
def contacts() -> None:
    """Contacts, groups and plans / 連絡先・グループ・連絡計画."""


@contacts.command("export")
@client_options
def export(url: str | None, tenant: str | None) -> None:
    """Everything as one JSON document, without secrets / 一式を JSON で出力（秘密を除く）."""

    def work() -> None:
        client = make_client(url, tenant)
        print_json({member: client.get(f"/api/v1/{path}")[member] for member, path in _MEMBERS.items()})

    guarded(work)


@contacts.command("import")
@client_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(url: str | None, tenant: str | None, file: Path) -> None:
    """Put what a JSON document has (as export writes it) / JSON の内容を登録."""
    guarded(lambda: _put_all(make_client(url, tenant), orjson.loads(file.read_bytes())))


def _put_all(client: HubClient, document: dict[str, Any]) -> None:
    for member, path in _MEMBERS.items():
        for one in document.get(member, ()):
            client.put(f"/api/v1/{path}/{one['id']}", one)
            click.echo(f"{path}/{one['id']}")


@contacts.command("delete")
@client_options
@click.argument("kind", type=click.Choice(list(_MEMBERS.values())))
@click.argument("name")
def delete(url: str | None, tenant: str | None, kind: str, name: str) -> None:
    """Remove a contact, a group or a plan / 削除."""
    guarded(lambda: make_client(url, tenant).delete(f"/api/v1/{kind}/{name}"))


@contacts.command("test")
@client_options
@click.argument("name")
def test(url: str | None, tenant: str | None, name: str) -> None:
    """Send a test by every channel of a contact / 連絡先のすべての手段で試験送信."""
    guarded(lambda: print_json(make_client(url, tenant).post(f"/api/v1/contacts/{name}/test")))


@contacts.command("browsers")
@client_options
@click.argument("name")
@click.option("--end", "browser_id", help="End the enrolment of this one / この登録を終える")
def browsers(url: str | None, tenant: str | None, name: str, browser_id: str | None) -> None:
    """Browsers that a contact enrolled for push messages / プッシュ通知を登録したブラウザー."""
    guarded(lambda: _browsers(make_client(url, tenant), name, browser_id))


def _browsers(client: HubClient, name: str, to_end: str | None) -> None:
    path = f"/api/v1/contacts/{name}/browsers"
    if to_end is not None:
        client.delete(f"{path}/{to_end}")
        return
    for browser in client.get(path)["browsers"]:
        click.echo(f"{browser['browserId']}  {browser['enrolledAt']:27} {browser['service']:30} {browser['label']}")


@click.command()
@client_options
@click.option("--alarm", help="Only of this alarm / この警報のみ")
@click.option("--contact", help="Only to this contact / この連絡先のみ")
@click.option("--limit", default=50, show_default=True)
def notices(url: str | None, tenant: str | None, alarm: str | None, contact: str | None, limit: int) -> None:
    """Who was told what, newest first, and whether it arrived / 送信記録（新しい順）."""
    guarded(lambda: _print_notices(make_client(url, tenant), alarm, contact, limit))


def _print_notices(client: HubClient, alarm: str | None, contact: str | None, limit: int) -> None:
    for notice in client.get("/api/v1/notices", alarmId=alarm, contactId=contact, limit=limit)["notices"]:
        held = f" ({notice['heldFor']} {notice['dueAt'] or ''})" if notice["heldFor"] else ""
        error = f"  {notice['error']}" if notice["error"] else ""
        click.echo(
            f"{notice['number']:8} {notice['createdAt']:27} {notice['contactId']:20} {notice['channel']:8} "
            f"{notice['kind']:15} {notice['state']}{held}{error}"
        )
