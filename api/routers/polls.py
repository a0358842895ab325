# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/polls``: documents of cities and prefectures that are fetched on a schedule, and how that goes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import Response
from psycopg import AsyncConnection

from adapters.polls.fetching import FetchFailed
from api.access.actors import RequestActor
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.intake.polling import Poller, poll_key
from api.openapi.plain import NEEDED, answers, takes
from broker.errors import BadRequestData, Conflict
from broker.intake.polls import Poll, address_of
from broker.intake.readings import UndecodablePayload
from broker.sections import read_document
from broker.times import to_text
from context_store.alerts.audit import add_entry
from context_store.intake.polls import StoredPoll, delete_poll, get_poll, list_polls, pause_poll, put_poll

_SHOWN: Final = 20  # records of a preview
_HIDDEN: Final = "***"  # in the place of the value of a header
_SHOWN_ONLY: Final = frozenset({"paused", "nextDueAt", "createdAt", "modifiedAt", "state"})


def polls_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])
    poller = Poller(hub)
    _definitions(router, hub)
    _work(router, hub, poller)
    _preview(router, hub, poller)
    return router


def _definitions(router: APIRouter, hub: Hub) -> None:
    @router.get("/polls", summary="Documents fetched on a schedule / 定期取得の一覧", responses=answers("Polls"))
    async def polls(tenant_id: TenantId) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_polls(connection, tenant_id)
        return Json({"polls": [poll_document(poll) for poll in found]})

    @router.get("/polls/{poll_id}", summary="One, and how it goes / 一件", responses=answers("Poll", *NEEDED))
    async def poll(tenant_id: TenantId, poll_id: str) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            return Json(poll_document(await get_poll(connection, tenant_id, poll_id)))

    @router.put(
        "/polls/{poll_id}",
        summary="Create or change; it is due at once / 登録・変更",
        description="Without ``headers`` those that are there stay. / headers を省くと元のままです。",
        responses=answers("Poll", statuses=(200, 201)),
        openapi_extra=takes("PollInput"),
    )
    async def put(tenant_id: TenantId, poll_id: str, actor: RequestActor, body: JsonObject) -> Json:
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            given = _read(hub, poll_id, await _with_secrets(hub, connection, tenant_id, poll_id, body))
            headers = hub.sealer.seal(given.headers) if "headers" in body else None
            is_new = await put_poll(connection, tenant_id, given, now, headers)
            stored = await get_poll(connection, tenant_id, poll_id)
            await add_entry(connection, tenant_id, actor, "poll.put", poll_id, now, details=stored.document)
        return Json(poll_document(stored), status_code=201 if is_new else 200)

    @router.delete(
        "/polls/{poll_id}",
        status_code=204,
        summary="Remove / 削除",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def delete(tenant_id: TenantId, poll_id: str, actor: RequestActor) -> Response:
        async with hub.database.transaction(tenant_id) as connection:
            await delete_poll(connection, tenant_id, poll_id)
            await add_entry(connection, tenant_id, actor, "poll.delete", poll_id, datetime.now(UTC))
        return Response(status_code=204)


def _work(router: APIRouter, hub: Hub, poller: Poller) -> None:
    async def pause(tenant_id: int, poll_id: str, actor: RequestActor, *, paused: bool) -> Json:
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            await pause_poll(connection, tenant_id, poll_id, now, paused=paused)
            action = "poll.pause" if paused else "poll.resume"
            await add_entry(connection, tenant_id, actor, action, poll_id, now)
            return Json(poll_document(await get_poll(connection, tenant_id, poll_id)))

    @router.post("/polls/{poll_id}/pause", summary="Stop fetching it / 停止", responses=answers("Poll", *NEEDED))
    async def stop(tenant_id: TenantId, poll_id: str, actor: RequestActor) -> Json:
        return await pause(tenant_id, poll_id, actor, paused=True)

    @router.post("/polls/{poll_id}/resume", summary="Go on, at once / 再開", responses=answers("Poll", *NEEDED))
    async def resume(tenant_id: TenantId, poll_id: str, actor: RequestActor) -> Json:
        return await pause(tenant_id, poll_id, actor, paused=False)

    @router.post(
        "/polls/{poll_id}/run",
        summary="Fetch it now, and see / 今すぐ取得",
        responses=answers("Poll", Conflict, *NEEDED),
    )
    async def run(tenant_id: TenantId, poll_id: str) -> Json:
        return Json(poll_document(await poller.run_now(tenant_id, poll_id, datetime.now(UTC))))


def _preview(router: APIRouter, hub: Hub, poller: Poller) -> None:
    @router.post(
        "/polls/{poll_id}/preview",
        summary="What the document holds now; nothing is stored / 試し取得",
        description="Members of the body take the place of what is registered, if it is. / 登録前でも使えます。",
        responses=answers("PollPreview"),
        openapi_extra=takes("PollInput"),
    )
    async def preview(tenant_id: TenantId, poll_id: str, body: JsonObject) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            stored = next((one for one in await list_polls(connection, tenant_id) if one.poll_id == poll_id), None)
            given = await _with_secrets(hub, connection, tenant_id, poll_id, body)
        poll = _read(hub, poll_id, {**(stored.document if stored else {}), **given})
        headers = poll.headers if "headers" in body or stored is None else hub.sealer.open(stored.headers)
        try:
            records, fetched = await poller.preview(poll, headers)
        except (FetchFailed, UndecodablePayload) as exc:
            raise BadRequestData(f"{poll.url}: {exc}") from exc
        key = poll_key(await hub.tenants.name(tenant_id), poll_id)
        shown = [(station, address_of(key, station), record) for station, record in records[:_SHOWN]]
        devices = await poller.devices(tenant_id, [address for _, address, _ in shown])
        return Json(
            {
                "records": len(records),
                "stations": len({station for station, _ in records}),
                "bytes": len(fetched.body or b""),
                "conditional": bool(fetched.validators.conditions()),
                "first": [
                    {
                        "station": station,
                        "address": address,
                        "device": devices[address].device_id if address in devices else None,
                        "record": record,
                    }
                    for station, address, record in shown
                ],
            }
        )


async def _with_secrets(
    hub: Hub, connection: AsyncConnection, tenant_id: int, poll_id: str, body: dict[str, Any]
) -> dict[str, Any]:
    """``body`` without what is only shown; headers whose values are hidden in it have those that are stored."""
    given = {name: value for name, value in body.items() if name not in _SHOWN_ONLY}
    headers = given.get("headers")
    if isinstance(headers, dict) and _HIDDEN in headers.values():
        known = hub.sealer.open((await get_poll(connection, tenant_id, poll_id)).headers)
        given["headers"] = {name: known.get(name, "") if value == _HIDDEN else value for name, value in headers.items()}
    return given


def _read(hub: Hub, poll_id: str, body: dict[str, Any]) -> Poll:
    """The poll in ``body``; raises :class:`BadRequestData`."""
    poll = read_document(Poll, {**body, "id": poll_id}, "poll")
    if poll.interval < hub.settings.poll_min_interval_s:
        least = hub.settings.poll_min_interval_s
        raise BadRequestData(f"poll.interval is {poll.interval:g}; at least {least:g} s (poll_min_interval_s)")
    return poll


def poll_document(stored: StoredPoll) -> dict[str, Any]:
    """A poll as JSON: its definition, without the values of its headers, and its state."""
    return {
        "id": stored.poll_id,
        "interval": stored.poll.interval,
        **stored.document,
        "headers": dict.fromkeys(stored.headers, _HIDDEN),
        "paused": stored.paused,
        "nextDueAt": None if stored.paused else to_text(stored.next_due),
        "createdAt": to_text(stored.created_at),
        "modifiedAt": to_text(stored.modified_at),
        "state": stored.state,
    }
