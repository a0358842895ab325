# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/contacts``, ``contact-groups``, ``notification-plans``, ``notices``: who is told, and who was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from psycopg import AsyncConnection

from api.access.actors import RequestActor
from api.alerting.notices import notice_document
from api.http.requests import JsonObject, RowNumber, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from api.routers.browsers import add_browser_routes
from api.workers.contacts import send_test
from broker.contacts import Channel, Contact, Group, Plan, languages
from broker.errors import BadRequestData
from broker.sections import read_document, write_document
from context_store.alerts.audit import add_entry
from context_store.contacts.browsers import end_all
from context_store.contacts.documents import (
    MODELS,
    Kind,
    delete_document,
    get_document,
    list_documents,
    load_roster,
    put_document,
    sealed_document,
)
from context_store.contacts.notices import list_notices

_PATHS: Final[dict[Kind, tuple[str, str, str]]] = {
    "contact": ("contacts", "Contact", "Who can be told / 連絡先"),
    "group": ("contact-groups", "ContactGroup", "Who is told together, by shift / 連絡先グループ（当番）"),
    "plan": ("notification-plans", "NotificationPlan", "Which groups are told about which alarms / 連絡計画"),
}


def contacts_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["contacts"])
    for kind, (path, schema, summary) in _PATHS.items():
        _reading(router, hub, kind, path, schema, summary)
        _writing(router, hub, kind, path, schema, summary)
    _testing(router, hub)
    add_browser_routes(router, hub)
    _languages(router)
    _notices(router, hub)
    return router


def _reading(router: APIRouter, hub: Hub, kind: Kind, path: str, schema: str, summary: str) -> None:
    @router.get(f"/{path}", name=f"list_{path}", summary=summary, responses=answers(f"{schema}s"))
    async def list_all(tenant_id: TenantId) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_documents(connection, tenant_id, kind)
        return Json({_member(path): [shown(one) for one in found]})

    @router.get(f"/{path}/{{name}}", name=f"get_{path}", summary=summary, responses=answers(schema, *NEEDED))
    async def get_one(tenant_id: TenantId, name: str) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            return Json(shown(await get_document(connection, tenant_id, kind, name)))


def _writing(router: APIRouter, hub: Hub, kind: Kind, path: str, schema: str, summary: str) -> None:
    @router.put(
        f"/{path}/{{name}}",
        name=f"put_{path}",
        summary=summary,
        responses=answers(schema, statuses=(200, 201)),
        openapi_extra=takes(schema),
    )
    async def put_one(tenant_id: TenantId, name: str, actor: RequestActor, body: JsonObject) -> Json:
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            given = _read(kind, name, await _with_kept_secrets(connection, tenant_id, kind, name, body))
            one = sealed_document(given, hub.sealer)
            await _must_be_known(connection, tenant_id, one)
            is_new = await put_document(connection, tenant_id, kind, one, now)
            await add_entry(connection, tenant_id, actor, f"{kind}.put", name, now, details=shown(one))
        return Json(shown(one), 201 if is_new else 200)

    @router.delete(
        f"/{path}/{{name}}",
        name=f"delete_{path}",
        summary=summary,
        status_code=204,
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def delete_one(tenant_id: TenantId, name: str, actor: RequestActor) -> Response:
        async with hub.database.transaction(tenant_id) as connection:
            now = datetime.now(UTC)
            await delete_document(connection, tenant_id, kind, name)
            if kind == "contact":
                await end_all(connection, tenant_id, name, "the contact was deleted", now)
            await add_entry(connection, tenant_id, actor, f"{kind}.delete", name, now)
        return Response(status_code=204)


def _testing(router: APIRouter, hub: Hub) -> None:
    @router.post(
        "/contacts/{name}/test",
        summary="Send a test by every channel / 試験送信",
        responses=answers("NoticeNumbers", *NEEDED),
    )
    async def test(tenant_id: TenantId, name: str, actor: RequestActor) -> Json:
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            contact = await get_document(connection, tenant_id, "contact", name)
            if not isinstance(contact, Contact):
                raise TypeError(contact)
            numbers = await send_test(connection, tenant_id, contact, now)
            await add_entry(connection, tenant_id, actor, "contact.test", name, now)
        return Json({"notices": numbers})


def _languages(router: APIRouter) -> None:
    @router.get("/languages", summary="Languages of messages / 知らせの言語", responses=answers("Languages"))
    async def known_languages() -> Json:
        return Json({"languages": [{"code": code, "name": name} for code, name in languages().items()]})


def _notices(router: APIRouter, hub: Hub) -> None:
    @router.get(
        "/notices", summary="Who was told what, and whether it arrived / 送信記録", responses=answers("Notices")
    )
    async def notices(
        tenant_id: TenantId,
        alarm: Annotated[str | None, Query(alias="alarmId")] = None,
        contact: Annotated[str | None, Query(alias="contactId")] = None,
        before: Annotated[RowNumber, Query(description="Older than this number")] = 2**63 - 1,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_notices(
                connection, tenant_id, alarm_id=alarm, contact_id=contact, before=before, limit=limit
            )
        return Json({"notices": [notice_document(notice) for notice in found]})


def _read(kind: Kind, name: str, body: dict[str, Any]) -> Contact | Group | Plan:
    if body.get("id", name) != name:
        raise BadRequestData("id: it is another one than in the address")
    return read_document(MODELS[kind], {**body, "id": name})


async def _with_kept_secrets(
    connection: AsyncConnection, tenant_id: int, kind: Kind, name: str, body: dict[str, Any]
) -> dict[str, Any]:
    """``body`` with the secrets that it says it has (``hasSecret``, as answers do): they stay as they are."""
    channels = body.get("channels")
    if kind != "contact" or not isinstance(channels, list):
        return body
    known = await load_roster(connection, tenant_id)
    before = known.contacts[name].channels if name in known.contacts else ()
    return body | {"channels": [_with_kept_secret(channel, before) for channel in channels]}


def _with_kept_secret(channel: Any, before: tuple[Channel, ...]) -> Any:
    if not isinstance(channel, dict):
        return channel
    if not isinstance(channel.get("secret"), str | None):
        raise BadRequestData("channels: a secret has to be a text / 秘密鍵は文字列で指定してください")
    if "hasSecret" not in channel:
        return channel
    shown = {name: value for name, value in channel.items() if name != "hasSecret"}
    if not channel["hasSecret"] or shown.get("secret"):
        return shown
    for known in before:
        if (known.type, known.address) == (channel.get("type"), channel.get("address")) and known.secret:
            return shown | {"secret": known.stored_secret}
    raise BadRequestData("channels: the secret of a channel that has one is not known; give it anew / 秘密鍵が必要です")


async def _must_be_known(connection: AsyncConnection, tenant_id: int, one: Contact | Group | Plan) -> None:
    """What a group or a plan names has to be there: a typing error must not leave anybody out."""
    if isinstance(one, Contact):
        if one.language not in languages():
            raise BadRequestData(f"language: one of {', '.join(languages())} is expected / この言語はありません")
        return
    roster = await load_roster(connection, tenant_id)
    if isinstance(one, Group):
        missing = [member.contact for member in one.members if member.contact not in roster.contacts]
    else:
        missing = [name for groups in one.steps for name in groups if name not in roster.groups]
    if missing:
        raise BadRequestData(f"{', '.join(missing)}: not known / 登録されていません")


def shown(one: Contact | Group | Plan) -> dict[str, Any]:
    """As others may see it: without secrets."""
    document = write_document(one)
    for channel in document.get("channels", ()):
        if channel.pop("secret", None) is not None:
            channel["hasSecret"] = True
    return document


def _member(path: str) -> str:
    """The member of an answer that lists what is at ``path``."""
    head, *rest = path.split("-")
    return head + "".join(part.capitalize() for part in rest)
