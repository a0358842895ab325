# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/alerts/cap`` and ``/api/v1/alerts/{id}/cap``: alerts as CAP 1.2 messages and their Atom feed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from psycopg import AsyncConnection

from adapters.cap.feed import ATOM_XML, EMPTY_SINCE, write_feed
from adapters.cap.messages import CAP_XML, CapEvent, CapMessage, CapProfile, Status, find_message, write_message
from api.http.negotiation import own_url
from api.http.requests import RowNumber, TenantId
from api.hub import Hub
from api.openapi.plain import NEEDED, answers
from broker.errors import ResourceNotFound
from context_store.alerts.messages import read_episode, read_messages
from context_store.alerts.standing import AlertEvent

_PATH: Final = "/api/v1/alerts/cap"
_MOST_WITHIN: Final = 50  # messages in a page of the feed that has them within
_DATES_ARE_SURE_AFTER: Final = timedelta(seconds=2)  # HTTP dates count seconds: two changes may share the newest one
_FEED_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **answers("CapFeed", media_type=ATOM_XML),
    304: {"description": "Nothing new since ETag or Last-Modified"},
}


def cap_profile(hub: Hub) -> CapProfile:
    """What CAP messages of new alerts say of their sender."""
    settings = hub.settings
    return CapProfile(
        status=settings.cap_status,
        sender=settings.cap_sender,
        sender_name=settings.cap_sender_name,
        geocode=settings.cap_geocode,
        radius_km=settings.cap_radius_km,
        valid_for=timedelta(hours=settings.cap_valid_hours),
    )


def add_cap_routes(router: APIRouter, hub: Hub) -> None:
    """The routes on ``hub``, under the prefix of ``router``."""

    @router.get(
        "/alerts/cap", summary="Alerts as an Atom feed of CAP messages / CAP のフィード", responses=_FEED_ANSWERS
    )
    async def feed(
        request: Request,
        tenant_id: TenantId,
        status: Annotated[Status, Query(description="Exercise and Test have feeds of their own")] = "Actual",
        before: Annotated[RowNumber | None, Query(description="Older than this message, as rel=next says")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        content: Annotated[
            Literal["link", "full"], Query(description="full: whole messages within the entries, 50 at most")
        ] = "link",
    ) -> Response:
        limit = limit if content == "link" else min(limit, _MOST_WITHIN)
        async with hub.database.transaction(tenant_id) as connection:
            found = await read_messages(connection, tenant_id, status, before=before, limit=limit + 1)
            events = [_cap_event(event) for event in found[:limit]]
            messages = await _messages(connection, tenant_id, events) if content == "full" else None
        following = events[-1].sequence if len(found) > limit else None
        modified = events[0].recorded_at if events else EMPTY_SINCE
        headers = _validators(request, [event.sequence for event in events] + [following or 0], modified)
        if _is_known(request, headers):
            return Response(status_code=304, headers=headers)
        body = write_feed(
            events,
            status,
            base_url=own_url(request, ""),
            feed_url=_feed_url(request, status, content, limit=None),
            self_url=_feed_url(request, status, content, limit=limit, before=before),
            next_url=_feed_url(request, status, content, limit=limit, before=following) if following else None,
            messages=messages,
        )
        return Response(body, media_type=ATOM_XML, headers=headers)

    message_answers = answers("CapMessage", *NEEDED, media_type=CAP_XML)

    @router.get(
        "/alerts/{alert_id}/cap", summary="An alert's newest CAP message / 最新の CAP", responses=message_answers
    )
    async def newest(tenant_id: TenantId, alert_id: str) -> Response:
        return await _message(hub, tenant_id, alert_id, None)

    @router.get(
        "/alerts/{alert_id}/cap/{sequence}", summary="One CAP message / CAP メッセージ一件", responses=message_answers
    )
    async def message(tenant_id: TenantId, alert_id: str, sequence: RowNumber) -> Response:
        return await _message(hub, tenant_id, alert_id, sequence)


async def _message(hub: Hub, tenant_id: int, alert_id: str, sequence: int | None) -> Response:
    async with hub.database.transaction(tenant_id) as connection:
        events = await read_episode(connection, tenant_id, alert_id, sequence)
    numbers = [event.alert_event_id for event in events if event.alert_id == alert_id]
    asked = sequence if sequence is not None else max(numbers, default=0)
    found = find_message([_cap_event(event) for event in events], asked)
    if found is None:
        raise ResourceNotFound(f"There is no CAP message of alert {alert_id}" + (f", {sequence}" if sequence else ""))
    return Response(write_message(found), media_type=CAP_XML)


def _cap_event(event: AlertEvent) -> CapEvent:
    return CapEvent(event.alert_event_id, event.alert_id, event.kind, event.document, event.recorded_at)


async def _messages(connection: AsyncConnection, tenant_id: int, events: Sequence[CapEvent]) -> dict[int, CapMessage]:
    """The whole messages of ``events``, by their numbers."""
    found = {}
    for event in events:
        episode = await read_episode(connection, tenant_id, event.alert_id, event.sequence)
        message = find_message([_cap_event(one) for one in episode], event.sequence)
        if message is not None:
            found[event.sequence] = message
    return found


def _feed_url(request: Request, status: str, content: str, *, limit: int | None, before: int | None = None) -> str:
    whole = content if content == "full" else None
    members = {"status": status, "limit": limit, "before": before, "content": whole}
    return own_url(request, f"{_PATH}?{urlencode({name: value for name, value in members.items() if value})}")


def _validators(request: Request, parts: Sequence[int], modified: datetime) -> dict[str, str]:
    """ETag, and Last-Modified where a date is exact enough. Messages never change, so their numbers say all."""
    text = f"{own_url(request, request.url.path)}?{request.url.query} {parts}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    # To the next whole second, so that no date is before what it stands for.
    rounded = (modified + timedelta(microseconds=999_999)).replace(microsecond=0).astimezone(UTC)
    headers = {"ETag": f'W/"{digest}"', "Cache-Control": "no-cache", "Vary": "NGSILD-Tenant"}
    if datetime.now(UTC) - modified > _DATES_ARE_SURE_AFTER:
        headers["Last-Modified"] = format_datetime(rounded, usegmt=True)
    return headers


def _is_known(request: Request, headers: dict[str, str]) -> bool:
    """Whether the client has this page (RFC 9110, 13.2.2: If-None-Match before If-Modified-Since)."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in known or headers["ETag"].removeprefix("W/") in known
    since = request.headers.get("If-Modified-Since")
    if since is None or "Last-Modified" not in headers:
        return False
    try:
        return parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(since).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
