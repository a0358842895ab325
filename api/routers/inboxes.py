# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/inboxes`` and ``/api/v1/notified/{key}``: notifications of other brokers come in here."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from adapters.formats.uplink_names import uplink_of
from api.access.actors import RequestActor
from api.embedded.passwords import hash_password, new_password, password_matches
from api.http.negotiation import link_context, own_url, read_body
from api.http.problem_details import UnacceptableRequest
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.intake.direct import basic_credentials
from api.intake.mirroring import NotificationTaker
from api.intake.polling import poll_key
from api.intake.uplinks import UplinkTaker
from api.openapi.plain import NEEDED, answers, takes
from broker.intake.inboxes import Inbox
from broker.sections import read_document
from broker.times import to_text, to_text_or_none
from context_store.alerts.audit import add_entry
from context_store.database import ALL_TENANTS
from context_store.intake.inboxes import (
    StoredInbox,
    delete_inbox,
    get_inbox,
    inbox_by_key,
    list_inboxes,
    note_heard,
    put_inbox,
    set_token,
)

PATH: Final = "/api/v1/notified/"
_NOBODY: Final = hash_password("nobody", salt=b"twelve bytes")  # so that unknown names take as long as known ones
_NOTED_S: Final = 5.0  # at most how often it is written that something came
_SHOWN_ONLY: Final = frozenset(
    {"url", "createdAt", "modifiedAt", "lastReceivedAt", "lastFault", "lastFaultAt", "token"}
)
_UNAUTHORIZED: Final = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "The inbox's token is required (Bearer) / 受信口のトークンが必要です",
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "A notification of NGSIv2 or NGSI-LD",
        "content": {"*/*": {"schema": {"description": "As the other broker sends it"}}},
    }
}


def inboxes_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])
    _definitions(router, hub)
    _tokens(router, hub)
    _receiving(router, hub)
    return router


def _definitions(router: APIRouter, hub: Hub) -> None:
    @router.get("/inboxes", summary="Where other brokers notify / 受信口の一覧", responses=answers("Inboxes"))
    async def inboxes(request: Request, tenant_id: TenantId) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_inboxes(connection, tenant_id)
        return Json({"inboxes": [_document(request, inbox) for inbox in found]})

    @router.get("/inboxes/{inbox_id}", summary="One inbox / 一件", responses=answers("Inbox", *NEEDED))
    async def inbox(request: Request, tenant_id: TenantId, inbox_id: str) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            return Json(_document(request, await get_inbox(connection, tenant_id, inbox_id)))

    @router.put(
        "/inboxes/{inbox_id}",
        summary="Create or change an inbox / 登録・変更",
        description="The token is told once, when it is new. / トークンは新規登録時に一度だけ表示されます。",
        responses=answers("Inbox", statuses=(200, 201)),
        openapi_extra=takes("InboxInput"),
    )
    async def put(request: Request, tenant_id: TenantId, inbox_id: str, actor: RequestActor, body: JsonObject) -> Json:
        members = {name: value for name, value in body.items() if name not in _SHOWN_ONLY}
        given = read_document(Inbox, {**members, "id": inbox_id}, "inbox")
        key = poll_key(await hub.tenants.name(tenant_id), inbox_id)
        now, token = datetime.now(UTC), new_password()
        async with hub.database.transaction(tenant_id) as connection:
            is_new = await put_inbox(connection, tenant_id, given, key, hash_password(token), now)
            stored = await get_inbox(connection, tenant_id, inbox_id)
            await add_entry(connection, tenant_id, actor, "inbox.put", inbox_id, now, details=stored.document)
        shown = _document(request, stored)
        return Json({**shown, "token": token} if is_new else shown, status_code=201 if is_new else 200)

    @router.delete(
        "/inboxes/{inbox_id}",
        status_code=204,
        summary="Remove an inbox / 削除",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def delete(tenant_id: TenantId, inbox_id: str, actor: RequestActor) -> Response:
        async with hub.database.transaction(tenant_id) as connection:
            await delete_inbox(connection, tenant_id, inbox_id)
            await add_entry(connection, tenant_id, actor, "inbox.delete", inbox_id, datetime.now(UTC))
        return Response(status_code=204)


def _tokens(router: APIRouter, hub: Hub) -> None:
    @router.put(
        "/inboxes/{inbox_id}/token",
        summary="Another token; the old one ends / トークンの再発行",
        responses=answers("Inbox", *NEEDED),
    )
    async def rotate(request: Request, tenant_id: TenantId, inbox_id: str, actor: RequestActor) -> Json:
        now, token = datetime.now(UTC), new_password()
        async with hub.database.transaction(tenant_id) as connection:
            await set_token(connection, tenant_id, inbox_id, hash_password(token), now)
            stored = await get_inbox(connection, tenant_id, inbox_id)
            await add_entry(connection, tenant_id, actor, "inbox.token", inbox_id, now)
        return Json({**_document(request, stored), "token": token})


def _receiving(router: APIRouter, hub: Hub) -> None:
    taker, uplinks = NotificationTaker(hub), UplinkTaker(hub)
    noted: dict[str, float] = {}

    async def note(inbox: StoredInbox, now: datetime, fault: str | None) -> None:
        """Write that something came, not for each notification."""
        moment = time.monotonic()
        if fault is None and moment - noted.get(inbox.key, -_NOTED_S) < _NOTED_S:
            return
        noted[inbox.key] = moment
        async with hub.database.transaction(inbox.tenant_id, durable=False) as connection:
            await note_heard(connection, inbox.tenant_id, inbox.inbox_id, now, fault)

    @router.post(
        "/notified/{key}",
        status_code=204,
        summary="A notification of another broker, or an uplink of a network server / 通知・アップリンクの受信",
        description="Answers after the commit: 204 all of it is stored, 202 something went to quarantine. "
        "Authorization is the inbox's token. / 保存が確定してから応答します。",
        responses=answers(None, statuses=(204,)) | answers("NotifiedReceipt", statuses=(202,)),
        openapi_extra=_BODY,
    )
    async def notified(key: str, request: Request) -> Response:
        inbox = await _admitted(hub, key, request.headers.get("authorization", ""))
        if inbox is None:
            raise UnacceptableRequest(401, _UNAUTHORIZED, {"WWW-Authenticate": 'Bearer realm="minamo inboxes"'})
        body = await read_body(request, hub.settings.max_request_bytes)
        now = datetime.now(UTC)
        uplink = uplink_of(_json(body), request.query_params.get("event"))
        if uplink is None:
            taken, fault = await taker.take(inbox, body, _properties(request), now)
        else:
            fault = await uplinks.take(inbox, uplink, body, now)
            taken = int(fault is None)
        await note(inbox, now, fault.detail if fault else None)
        if fault is None:
            return Response(status_code=204)
        answer = {"status": "quarantined", "taken": taken, "reason": fault.reason.value, "detail": fault.detail}
        return Json(answer, status_code=202)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


async def _admitted(hub: Hub, key: str, authorization: str) -> StoredInbox | None:
    """The inbox with ``key`` when ``authorization`` (Bearer, or Basic with the key as name) has its token."""
    async with hub.database.transaction(ALL_TENANTS) as connection:
        found = await inbox_by_key(connection, key)
    scheme, _, token = authorization.partition(" ")
    name = key
    if scheme.lower() != "bearer":
        name, token = basic_credentials(authorization)
    matches = password_matches(token.strip(), found.token_hash if found else _NOBODY)
    return found if matches and name == key else None


def _properties(request: Request) -> dict[str, Any]:
    """What headers say of a notification, kept with it in quarantine."""
    said = {"attrsFormat": request.headers.get("ngsiv2-attrsformat"), "context": link_context(request)}
    return {name: value for name, value in said.items() if value is not None}


def _document(request: Request, stored: StoredInbox) -> dict[str, Any]:
    """An inbox as JSON."""
    return {
        "id": stored.inbox_id,
        **stored.document,
        "url": own_url(request, PATH + stored.key),
        "createdAt": to_text(stored.created_at),
        "modifiedAt": to_text(stored.modified_at),
        "lastReceivedAt": to_text_or_none(stored.last_received_at),
        "lastFault": stored.last_fault,
        "lastFaultAt": to_text_or_none(stored.last_fault_at),
    }
