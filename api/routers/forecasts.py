# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/forecasts``: runs of models, what they say now, and how good they turned out to be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from api.access.actors import RequestActor
from api.alerting.forecasts import LABEL, take_run
from api.http.requests import JsonObject, TenantId, expand_name, parse_moment, short_name
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from api.settings import Settings
from broker.alerts import AlertRule
from broker.alerts.states import in_unit
from broker.audiences import Audience
from broker.errors import AlreadyExists, BadRequestData, OperationNotSupported
from broker.forecasts.baseline import MODEL_NAME
from broker.forecasts.runs import ForecastRun, RunLimits, parse_run
from broker.forecasts.verification import Said, verify
from broker.times import to_text, to_text_or_none
from context_store.alerts.audit import add_entry
from context_store.devices.stations import StationStore
from context_store.forecasts.runs import (
    AskedRuns,
    StoredLayer,
    StoredLine,
    StoredRun,
    current_lines,
    get_run,
    list_runs,
    said_of,
)
from schemas.contexts import MINAMO_CONTEXT

_UNIT: Final = "MTR"


def forecasts_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["forecasts"])
    _posting(router, hub)
    _reading(router, hub)
    _verifying(router, hub)
    return router


def _posting(router: APIRouter, hub: Hub) -> None:
    @router.post(
        "/forecasts",
        status_code=201,
        summary="A run of a forecast model / 予測モデルの計算結果の登録",
        responses=answers("ForecastAccepted", AlreadyExists, OperationNotSupported, statuses=(200, 201)),
        openapi_extra=takes("ForecastRun"),
    )
    async def post(tenant_id: TenantId, actor: RequestActor, body: JsonObject) -> Json:
        terms = await hub.contexts.resolve(MINAMO_CONTEXT)
        life = timedelta(minutes=hub.settings.forecast_expires_minutes)
        run = parse_run(body, terms.expand_term, life, _limits(hub.settings))
        _may_be_public(run, hub.settings.forecast_permission)
        now = datetime.now(UTC)
        is_new = await take_run(hub, tenant_id, run, body, now)
        if is_new and run.leads:
            async with hub.database.transaction(tenant_id) as connection:
                details = {one.word: lead.total_seconds() for one, lead in run.leads.items()}
                await add_entry(
                    connection, tenant_id, actor, "forecast.shown", run.run_id, now, details={"audience": details}
                )
        answer = {"runId": run.run_id, "isNew": is_new, "expiresAt": to_text(run.expires_at)}
        return Json(answer, status_code=201 if is_new else 200)


def _limits(settings: Settings) -> RunLimits:
    return RunLimits(
        series=settings.forecast_max_series,
        times=settings.forecast_max_times,
        lines=settings.forecast_max_lines,
        layers=settings.forecast_max_layers,
        ahead=timedelta(days=settings.forecast_max_days),
    )


def _may_be_public(run: ForecastRun, permission: str | None) -> None:
    if Audience.PUBLIC in run.leads and not permission:
        raise OperationNotSupported(
            "Forecasts for the public need a permission: set forecast_permission (MINAMO_FORECAST_PERMISSION) / "
            "一般への予報の公開には許可が必要です"
        )


def _reading(router: APIRouter, hub: Hub) -> None:
    @router.get("/forecasts", summary="What models say now / 最新の予測", responses=answers("Forecasts"))
    async def current(
        tenant_id: TenantId,
        entity: Annotated[str | None, Query(alias="entityId", min_length=1)] = None,
        attribute: Annotated[str | None, Query(description="Name or IRI; needs entityId", min_length=1)] = None,
        model: Annotated[str | None, Query(min_length=1)] = None,
        lines: Annotated[bool, Query(description="Also quantiles and members")] = False,
        limit: Annotated[int, Query(ge=1, le=5000)] = 500,
    ) -> Json:
        if attribute is not None and entity is None:
            raise BadRequestData("attribute needs an entityId")
        iri = await expand_name(hub, tenant_id, entity, attribute) if entity and attribute else None
        async with hub.database.transaction(tenant_id) as connection:
            found = await current_lines(
                connection, tenant_id, entity_id=entity, attribute=iri, model=model, all_lines=lines, limit=limit
            )
        now = datetime.now(UTC)
        return Json({"label": LABEL, "generatedAt": to_text(now), "forecasts": [_line(one, now) for one in found]})

    @router.get("/forecast-runs", summary="Runs, newest first / 計算結果の一覧", responses=answers("ForecastRuns"))
    async def runs(
        tenant_id: TenantId,
        model: Annotated[str | None, Query(min_length=1)] = None,
        before: Annotated[str | None, Query(description="Issued before this time (ISO 8601)")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        until = parse_moment(before, "before") if before else None
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_runs(connection, tenant_id, model=model, before=until, limit=limit)
        now = datetime.now(UTC)
        return Json({"label": LABEL, "runs": [_run(one, now) for one in found]})

    @router.get("/forecast-runs/{run_id}", summary="One run / 一件", responses=answers("ForecastRunDetail", *NEEDED))
    async def one_run(tenant_id: TenantId, run_id: str) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            run, lines, layers = await get_run(connection, tenant_id, run_id)
        now = datetime.now(UTC)
        detail = {"series": [_line(one, now) for one in lines], "layers": [_layer(one) for one in layers]}
        return Json({"label": LABEL} | _run(run, now) | detail)


def _verifying(router: APIRouter, hub: Hub) -> None:
    stations = StationStore(hub.database, hub.terms)

    @router.get(
        "/forecast-verification",
        summary="Forecasts against what was then measured, by lead time / 予測の検証",
        responses=answers("ForecastVerification"),
    )
    async def verification(
        tenant_id: TenantId,
        entity: Annotated[str, Query(alias="entityId", min_length=1)],
        model: Annotated[str, Query(description="Or the hub's own", min_length=1)] = MODEL_NAME,
        attribute: Annotated[str, Query(min_length=1)] = "waterLevel",
        start: Annotated[str | None, Query(alias="from", description="ISO 8601; default: 30 days before to")] = None,
        end: Annotated[str | None, Query(alias="to", description="ISO 8601; default: now")] = None,
    ) -> Json:
        until = parse_moment(end, "to") if end else datetime.now(UTC)
        since = parse_moment(start, "from") if start else until - timedelta(days=30)
        if since >= until:
            raise BadRequestData("from is not before to")
        iri = await expand_name(hub, tenant_id, entity, attribute)
        async with hub.database.transaction(tenant_id) as connection:
            asked = AskedRuns(model, entity, iri, since, until, hub.settings.forecast_verification_runs)
            found = await said_of(connection, tenant_id, asked)
            rules = await hub.alert_rules.list_rules(connection, tenant_id)
        most = hub.settings.forecast_verification_points
        points = await stations.series(tenant_id, entity, iri, since - timedelta(hours=1), until, most)
        thresholds = _thresholds(rules, entity, iri, until)
        classes = verify((_said(*one) for one in found), points, thresholds)
        return Json(
            {
                "label": LABEL,
                "entityId": entity,
                "attribute": short_name(iri),
                "model": model,
                "unitCode": _UNIT,
                "from": to_text(since),
                "to": to_text(until),
                "runs": len(found),
                "measured": len(points),
                "thresholds": thresholds,
                "leads": [one.document() for one in classes],
            }
        )


def _said(issued_at: float, unit: str | None, times: list[float], values: list[float]) -> Said:
    factor = in_unit(1.0, unit, _UNIT)
    if factor is None:
        return Said(issued_at, ())
    return Said(issued_at, [(at, value * factor) for at, value in zip(times, values, strict=True)])


def _thresholds(rules: list[AlertRule], entity_id: str, attribute: str, now: datetime) -> dict[str, float]:
    """The stages of the station as its rules have them, in metres."""
    found: dict[str, float] = {}
    for rule in (one.for_entity(entity_id) for one in rules if one.attribute == attribute):
        if rule.enabled and (rule.entities.type is not None or entity_id in rule.entities.ids):
            factor = in_unit(1.0, rule.unit_code, _UNIT)
            for level in rule.levels:
                if level.threshold is not None and level.holds_at(now) and factor is not None:
                    found.setdefault(level.stage, round(level.threshold * factor, 6))
    return found


def _status(expires_at: datetime, now: datetime) -> dict[str, Any]:
    return {"expiresAt": to_text(expires_at), "status": "expired" if expires_at <= now else "current"}


def _line(one: StoredLine, now: datetime) -> dict[str, Any]:
    return {
        "runId": one.run_id,
        "model": one.model,
        "version": one.version,
        "isBaseline": one.model == MODEL_NAME,
        "issuedAt": to_text(one.issued_at),
        **_status(one.expires_at, now),
        "entityId": one.entity_id,
        "attribute": short_name(one.attribute),
        "line": one.line,
        "unitCode": one.unit_code,
        "validAt": [to_text(moment) for moment in one.valid_at],
        "values": one.value,
    }


def _run(one: StoredRun, now: datetime) -> dict[str, Any]:
    return {
        "runId": one.run_id,
        "model": one.model,
        "version": one.version,
        "isBaseline": one.model == MODEL_NAME,
        "issuedAt": to_text(one.issued_at),
        "receivedAt": to_text(one.received_at),
        **_status(one.expires_at, now),
        "briefedUntil": to_text_or_none(one.briefed_until),
        "publicUntil": to_text_or_none(one.public_until),
    }


def _layer(one: StoredLayer) -> Mapping[str, Any]:
    return {
        "validAt": to_text(one.valid_at),
        "depthFrom": one.depth_from,
        "depthTo": one.depth_to,
        "geometry": one.geometry,
    }
