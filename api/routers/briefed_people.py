# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/briefed-people``: who was briefed, what they were told, and their tokens."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.access.actors import RequestActor
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.alerts.documents import moment_of, only, wrong
from broker.times import to_text, to_text_or_none
from context_store.alerts.audit import add_entry
from context_store.audiences.briefed_people import BriefedPerson, add_person, list_people, revoke_person

_MEMBERS: Final = frozenset({"name", "briefing", "expiresAt"})
_USUALLY: Final = timedelta(days=365)
_LONGEST: Final = timedelta(days=3 * 366)
_LONGEST_TEXT: Final = 1000


def briefed_people_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1/briefed-people", tags=["audiences"])

    @router.get("", summary="Who was briefed / 説明を受けた人・企業", responses=answers("BriefedPeople"))
    async def people(tenant_id: TenantId, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_people(connection, tenant_id, limit)
        now = datetime.now(UTC)
        return Json({"people": [_document(person, now) for person in found]})

    @router.post(
        "",
        status_code=201,
        summary="Somebody was briefed: a token, shown once / 登録とトークンの発行（表示は一度だけ）",
        responses=answers("BriefedPersonToken", statuses=(201,)),
        openapi_extra=takes("BriefedPersonRequest"),
    )
    async def add(tenant_id: TenantId, actor: RequestActor, body: JsonObject) -> Json:
        now = datetime.now(UTC)
        person, token = _read(body, now), secrets.token_urlsafe(32)
        async with hub.database.transaction(tenant_id) as connection:
            await add_person(connection, tenant_id, person, hashlib.sha256(token.encode()).hexdigest())
            details = {"name": person.name, "briefing": person.briefing, "expiresAt": to_text(person.expires_at)}
            await add_entry(connection, tenant_id, actor, "briefed.add", person.person_id, now, details=details)
        return Json(_document(person, now) | {"token": token}, status_code=201)

    @router.delete(
        "/{person_id}",
        status_code=204,
        summary="Withdraw a token and what was subscribed with it / トークンの失効",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def revoke(tenant_id: TenantId, person_id: str, actor: RequestActor) -> Response:
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            await revoke_person(connection, tenant_id, person_id, now)
            await add_entry(connection, tenant_id, actor, "briefed.revoke", person_id, now)
        return Response(status_code=204)

    return router


def _read(body: dict[str, Any], now: datetime) -> BriefedPerson:
    only(body, _MEMBERS, "")
    expires_at = moment_of(body["expiresAt"], "expiresAt") if "expiresAt" in body else now + _USUALLY
    if not now < expires_at <= now + _LONGEST:
        raise wrong("expiresAt", f"it is not within {_LONGEST.days} days from now")
    texts = [_text(body, name) for name in ("name", "briefing")]
    return BriefedPerson(f"b-{secrets.token_hex(6)}", texts[0], texts[1], now, expires_at)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_TEXT or "\0" in value:
        raise wrong(name, "a text is expected: " + ("who" if name == "name" else "what was told and agreed to"))
    return value.strip()


def _document(person: BriefedPerson, now: datetime) -> dict[str, Any]:
    is_over = person.revoked_at is not None or person.expires_at <= now
    return {
        "id": person.person_id,
        "name": person.name,
        "briefing": person.briefing,
        "createdAt": to_text(person.created_at),
        "expiresAt": to_text(person.expires_at),
        "revokedAt": to_text_or_none(person.revoked_at),
        "lastSeenAt": to_text_or_none(person.last_seen_at),
        "status": "ended" if is_over else "active",
    }
