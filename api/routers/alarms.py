# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/alarms``, ``/api/v1/incidents``, ``/api/v1/audit``: who has to do what about which river, and who did."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse

from api.access.actors import RequestActor, with_name
from api.alerting.alarms import change_alarm
from api.http.requests import JsonObject, RowNumber, TenantId, parse_moment
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import EVENT_STREAM, NEEDED, answers, takes
from api.routers.alarm_records import add_record_routes
from api.streams.numbered import PAGE, NumberedEvent, Wakes, numbered_stream
from api.streams.sending import EventStream
from broker.alerts.lifecycle import acknowledge, shelve, unshelve
from broker.alerts.steps import alarm_document
from broker.errors import BadRequestData, Conflict, ResourceNotFound
from broker.times import parse_time, to_text, to_text_or_none
from context_store.alerts.alarm_reads import (
    AlarmRecord,
    Incident,
    alarms_of_incidents,
    get_alarm,
    last_step_id,
    list_alarms,
    list_incidents,
    read_steps,
)
from context_store.alerts.audit import AuditEntry, read_entries

_CSV: Final = "text/csv"
_LONGEST_REASON: Final = 1000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_AUDIT_ANSWERS: Final = answers("Audit")
_AUDIT_ANSWERS[200]["content"][_CSV] = {"schema": {"type": "string"}}
_AUDIT_COLUMNS: Final = ("id", "at", "actor", "name", "action", "target", "reason", "details")
_CHANGED: Final = answers("Alarm", Conflict, *NEEDED)
_State = Annotated[Literal["open", "all"], Query(description="open: not cleared yet")]


def alarms_router(hub: Hub, wakes: Wakes) -> APIRouter:
    """The routes on ``hub``; ``wakes`` tells streams that there is something new."""
    router = APIRouter(prefix="/api/v1", tags=["alarms"])
    add_record_routes(router, hub)
    _following(router, hub, wakes)
    _reading(router, hub)
    _changing(router, hub)
    _incidents(router, hub)
    _audit(router, hub)
    return router


def _reading(router: APIRouter, hub: Hub) -> None:
    @router.get("/alarms", summary="Alarms, newest first / 警報（観測局ごと）", responses=answers("Alarms"))
    async def alarms(
        tenant_id: TenantId,
        state: _State = "open",
        entity: Annotated[str | None, Query(alias="entityId")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_alarms(connection, tenant_id, open_only=state == "open", entity_id=entity, limit=limit)
        return Json({"alarms": [record_document(record) for record in found]})

    @router.get("/alarms/steps", summary="Every step of every alarm, in order / 経過", responses=answers("AlarmSteps"))
    async def steps(
        tenant_id: TenantId,
        after: Annotated[RowNumber, Query(description="Number of the last one seen")] = 0,
        alarm: Annotated[str | None, Query(alias="alarmId")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    ) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await read_steps(connection, tenant_id, after, alarm_id=alarm, limit=limit)
        return Json({"steps": [{**step.document, "sequence": step.alarm_step_id} for step in found]})

    @router.get("/alarms/{alarm_id}", summary="One alarm / 警報一件", responses=answers("Alarm", *NEEDED))
    async def alarm(tenant_id: TenantId, alarm_id: str) -> Json:
        return Json(await _one(hub, tenant_id, alarm_id))


def _following(router: APIRouter, hub: Hub, wakes: Wakes) -> None:
    @router.get(
        "/alarms/stream",
        summary="Steps of alarms as they happen (server-sent events) / 経過の配信",
        response_class=StreamingResponse,
        responses=answers("AlarmStepEvents", media_type=EVENT_STREAM),
    )
    async def stream(
        tenant_id: TenantId,
        last_event_id: Annotated[RowNumber | None, Header(description="Resume after this step")] = None,
        after: Annotated[RowNumber | None, Query(description="The same, for clients that cannot set headers")] = None,
    ) -> EventStream:
        async def read(behind: int) -> list[NumberedEvent]:
            async with hub.database.transaction(tenant_id) as connection:
                found = await read_steps(connection, tenant_id, behind, limit=PAGE)
            return [NumberedEvent(step.alarm_step_id, step.kind, step.document) for step in found]

        position = last_event_id if last_event_id is not None else after
        if position is None:
            async with hub.database.transaction(tenant_id) as connection:
                position = await last_step_id(connection, tenant_id)
        return numbered_stream(wakes, read, position, stall_s=hub.settings.stream_stall_s)


def _changing(router: APIRouter, hub: Hub) -> None:
    @router.post(
        "/alarms/{alarm_id}/acknowledge",
        summary="Somebody has seen it / 確認",
        responses=_CHANGED,
        openapi_extra=takes("AcknowledgeInput"),
    )
    async def acknowledged(tenant_id: TenantId, alarm_id: str, actor: RequestActor, body: JsonObject) -> Json:
        who, note = with_name(actor, body), _reason(body, "note", needed=False)
        _only(body, "by", "note")
        await change_alarm(hub, tenant_id, alarm_id, who, lambda alarm, now: acknowledge(alarm, who.shown, now, note))
        return Json(await _one(hub, tenant_id, alarm_id))

    @router.post(
        "/alarms/{alarm_id}/shelve",
        summary="Tell nobody for a while, unless it gets worse / 保留",
        responses=_CHANGED,
        openapi_extra=takes("ShelveInput"),
    )
    async def shelved(tenant_id: TenantId, alarm_id: str, actor: RequestActor, body: JsonObject) -> Json:
        who, reason = with_name(actor, body), _reason(body, "reason", needed=True) or ""
        _only(body, "by", "reason", "until", "seconds")
        until = _until(body)
        await change_alarm(
            hub,
            tenant_id,
            alarm_id,
            who,
            lambda alarm, now: shelve(alarm, who.shown, reason, until, now),
            details={"until": to_text(until)},
        )
        return Json(await _one(hub, tenant_id, alarm_id))

    @router.post(
        "/alarms/{alarm_id}/unshelve",
        summary="End the shelf before its time / 保留の解除",
        responses=_CHANGED,
        openapi_extra=takes("UnshelveInput"),
    )
    async def unshelved(tenant_id: TenantId, alarm_id: str, actor: RequestActor, body: JsonObject) -> Json:
        who, reason = with_name(actor, body), _reason(body, "reason", needed=False)
        _only(body, "by", "reason")
        await change_alarm(hub, tenant_id, alarm_id, who, lambda alarm, now: unshelve(alarm, who.shown, now, reason))
        return Json(await _one(hub, tenant_id, alarm_id))


def _incidents(router: APIRouter, hub: Hub) -> None:
    @router.get("/incidents", summary="Incidents: alarms by river / 事案（河川ごと）", responses=answers("Incidents"))
    async def incidents(
        tenant_id: TenantId, state: _State = "open", limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Json:
        return Json({"incidents": await _incident_documents(hub, tenant_id, state == "open", None, limit)})

    @router.get("/incidents/{incident_id}", summary="One incident / 事案一件", responses=answers("Incident", *NEEDED))
    async def incident(tenant_id: TenantId, incident_id: str) -> Json:
        found = await _incident_documents(hub, tenant_id, False, incident_id, 1)
        if not found:
            raise ResourceNotFound(f"Incident {incident_id} does not exist")
        return Json(found[0])


def _audit(router: APIRouter, hub: Hub) -> None:
    @router.get("/audit", summary="What people did: who, when, what, why / 監査記録", responses=_AUDIT_ANSWERS)
    async def audit(
        tenant_id: TenantId,
        after: Annotated[RowNumber, Query(description="Number of the last one seen")] = 0,
        start: Annotated[str | None, Query(alias="from", description="ISO 8601 with offset")] = None,
        end: Annotated[str | None, Query(alias="to", description="ISO 8601 with offset")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response:
        span = (parse_moment(start, "from") if start else None, parse_moment(end, "to") if end else None)
        async with hub.database.transaction(tenant_id) as connection:
            found = await read_entries(connection, tenant_id, after=after, since=span[0], until=span[1], limit=limit)
        if form == "csv":
            headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
            return Response("\ufeff" + _audit_csv(found), media_type=f"{_CSV}; charset=utf-8", headers=headers)
        return Json({"entries": [_entry_document(entry) for entry in found]})


async def _one(hub: Hub, tenant_id: int, alarm_id: str) -> dict[str, Any]:
    async with hub.database.transaction(tenant_id) as connection:
        record = await get_alarm(connection, tenant_id, alarm_id)
        if record is None:
            raise ResourceNotFound(f"Alarm {alarm_id} does not exist")
        steps = await read_steps(connection, tenant_id, 0, alarm_id=alarm_id)
    return {**record_document(record), "steps": [{**s.document, "sequence": s.alarm_step_id} for s in steps]}


async def _incident_documents(
    hub: Hub, tenant_id: int, open_only: bool, incident_id: str | None, limit: int
) -> list[dict[str, Any]]:
    async with hub.database.transaction(tenant_id) as connection:
        found = await list_incidents(connection, tenant_id, open_only=open_only, incident_id=incident_id, limit=limit)
        alarms = await alarms_of_incidents(connection, tenant_id, [incident.incident_id for incident in found])
    return [_incident_document(incident, alarms[incident.incident_id]) for incident in found]


def _incident_document(incident: Incident, alarms: list[AlarmRecord]) -> dict[str, Any]:
    shown = [record_document(record) for record in alarms]
    worst = max((alarm for alarm in shown if alarm["status"] != "cleared"), key=_order, default=None)
    return {
        "incidentId": incident.incident_id,
        "name": incident.name,
        "openedAt": to_text(incident.opened_at),
        "closedAt": to_text_or_none(incident.closed_at),
        "stage": worst["stage"] if worst else None,
        "open": sum(alarm["status"] != "cleared" for alarm in shown),
        "unacknowledged": sum(alarm["status"] == "open" for alarm in shown),
        "alarms": shown,
    }


def _order(alarm: dict[str, Any]) -> int:
    return int(alarm["stageOrder"])


def record_document(record: AlarmRecord) -> dict[str, Any]:
    """An alarm as it stands, with what it is about and the newest values that decided."""
    last = {name: (record.step or {}).get(name) for name in ("value", "threshold", "observedAt")}
    return {**alarm_document(record.alarm), **record.about, **last, "peakValue": record.peak}


def _until(body: dict[str, Any]) -> datetime:
    if ("until" in body) == ("seconds" in body):
        raise BadRequestData("until: either until or seconds is expected / 期限が必要です")
    if "until" in body:
        try:
            return parse_time(body["until"])
        except (TypeError, ValueError) as exc:
            raise BadRequestData("until: a time such as 2026-06-01T00:00:00+09:00 is expected") from exc
    seconds = body["seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 10**7:
        raise BadRequestData("seconds: a number above 0 is expected")
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _reason(body: dict[str, Any], name: str, *, needed: bool) -> str | None:
    reason = body.get(name)
    if reason is None and not needed:
        return None
    if not isinstance(reason, str) or not reason.strip() or len(reason) > _LONGEST_REASON:
        raise BadRequestData(f"{name}: a text of 1 to {_LONGEST_REASON} characters is expected / 理由が必要です")
    return reason.strip()


def _only(body: dict[str, Any], *known: str) -> None:
    for name in body:
        if name not in known:
            raise BadRequestData(f"{name}: unknown member; known are {', '.join(known)}")


def _entry_document(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.audit_entry_id,
        "at": to_text(entry.recorded_at),
        "actor": entry.actor,
        "name": entry.name,
        "action": entry.action,
        "target": entry.target,
        "reason": entry.reason,
        "details": entry.details,
    }


def _audit_csv(entries: list[AuditEntry]) -> str:
    """A line a deed, as spreadsheets read it; cells that they would take for a formula begin with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_AUDIT_COLUMNS)
    for entry in entries:
        document = _entry_document(entry) | {"details": orjson.dumps(entry.details).decode()}
        writer.writerow([_cell(document[name]) for name in _AUDIT_COLUMNS])
    return text.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(_FORMULA) else text
