# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/stations``: what the live page shows, plain JSON for any other client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query

from api.http.requests import TenantId, expand_name, parse_moment, short_name
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import answers
from broker.alerts import AlertRule
from broker.devices.profile import DeviceProfile, parse_device_profile
from broker.devices.silence import FLOODED_UNKNOWN, RECEPTION
from broker.errors import BadRequestData
from broker.quality import judgement_of
from broker.stations import freshness
from broker.times import to_text
from context_store.devices.stations import StationRow, StationStore
from schemas.stages import ALL_STAGES, NO_DATA, RANK, STAGE_BY_CODE
from schemas.terms import NO_DATASET

_MAX_POINTS: Final = 50_000
_DEFAULT_SPAN: Final = timedelta(hours=24)


Notice = Mapping[str, str]


def stations_router(hub: Hub, notice: Notice | None = None) -> APIRouter:
    """The routes on ``hub``; ``notice`` is a sentence by language that the page shows above everything."""
    router = APIRouter(prefix="/api/v1/stations", tags=["stations"])
    store = StationStore(hub.database, hub.terms)

    @router.get("", summary="All stations with their newest value / 全観測局の最新値", responses=answers("Stations"))
    async def stations(tenant_id: TenantId) -> Json:
        rows = await store.stations(tenant_id)
        async with hub.database.transaction(tenant_id) as connection:
            rules = await hub.alert_rules.list_rules(connection, tenant_id)
        now = datetime.now(UTC)
        return Json(
            {
                "generatedAt": to_text(now),
                "notice": notice,
                "stages": [_stage(stage.code) for stage in ALL_STAGES],
                "stations": [_station(row, rules, now, hub.settings.stale_factor) for row in rows],
            }
        )

    @router.get(
        "/{entity_id}/series", summary="One attribute over time / 一つの属性の時系列", responses=answers("Series")
    )
    async def series(
        tenant_id: TenantId,
        entity_id: str,
        attribute: Annotated[str, Query(description="Name or IRI of the attribute")] = "waterLevel",
        start: Annotated[str | None, Query(alias="from", description="ISO 8601 with offset")] = None,
        end: Annotated[str | None, Query(alias="to", description="ISO 8601 with offset")] = None,
    ) -> Json:
        until = parse_moment(end, "to") if end else datetime.now(UTC)
        since = parse_moment(start, "from") if start else until - _DEFAULT_SPAN
        if since >= until:
            raise BadRequestData("from is not before to")
        iri = await expand_name(hub, tenant_id, entity_id, attribute)
        points = await store.series(tenant_id, entity_id, iri, since, until, _MAX_POINTS)
        return Json(
            {
                "entityId": entity_id,
                "attribute": short_name(iri),
                "from": to_text(since),
                "to": to_text(until),
                "points": points,
            }
        )

    return router


def _stage(code: str) -> dict[str, Any]:
    stage = STAGE_BY_CODE[code]
    return {
        "code": stage.code,
        "order": stage.order,
        "nameJa": stage.name_ja,
        "nameEn": stage.name_en,
        "colour": stage.colour,
        "shape": stage.shape,
    }


@lru_cache(maxsize=4096)
def _profile(document: bytes) -> DeviceProfile:
    return parse_device_profile(orjson.loads(document))


def _interval_s(profile: DeviceProfile, row: StationRow) -> float | None:
    """How often a reading should come in the present mode; None: it is not known."""
    interval = profile.expected_interval
    if interval is None:
        return None
    mapping = next((one for one in row.mappings if one["field"] == interval.field), row.mappings[0])
    group = (row.document or {}).get(mapping["attribute"]) or {}
    value = (group.get(mapping.get("datasetId", NO_DATASET)) or {}).get("value")
    return interval.at(value if isinstance(value, int | float) and not isinstance(value, bool) else None)


def _station(row: StationRow, rules: Iterable[AlertRule], now: datetime, stale_factor: float) -> dict[str, Any]:
    mapping = row.mappings[0]
    attribute = mapping["attribute"]
    dataset = mapping.get("datasetId", NO_DATASET)
    instance = ((row.document or {}).get(attribute) or {}).get(dataset) or {}
    observed = instance.get("observedAt")
    said = judgement_of(instance)
    profile = _profile(orjson.dumps(row.profile))
    interval_s = _interval_s(profile, row)
    reception = ((row.document or {}).get(RECEPTION) or {}).get(NO_DATASET, {}).get("value")
    observed_at = datetime.fromisoformat(observed) if observed else None
    watching = [
        rule for rule in rules if rule.attribute == attribute and rule.entities.matches(row.entity_id, tuple(row.types))
    ]
    codes = {key.rsplit("/", 1)[1] for key in row.raised} - {NO_DATA}  # which the status says
    raised = sorted(codes, key=RANK.__getitem__)
    return {
        "entityId": row.entity_id,
        "deviceId": row.device_id,
        "name": row.name,
        "types": [short_name(iri) for iri in row.types],
        "location": [row.longitude, row.latitude] if row.longitude is not None else None,
        "attribute": short_name(attribute),
        "attributeIri": attribute,
        "unitCode": instance.get("unitCode") or mapping.get("unitCode"),
        "value": instance.get("value"),
        "observedAt": observed,
        "quality": said.flag if said else None,
        "qualityReasons": list(said.reasons) if said else [],
        "ageSeconds": round((now - observed_at).total_seconds()) if observed_at else None,
        "expectedIntervalSeconds": interval_s,
        "status": freshness(observed_at, now, interval_s, profile.silence.limits(stale_factor)).value,
        "reception": reception,
        "floodSign": reception == FLOODED_UNKNOWN,
        "stage": raised[-1] if raised else None,
        "stagesRaised": raised,
        "thresholds": [
            {"stage": level.stage, "value": level.threshold}
            for rule in (one.for_entity(row.entity_id) for one in watching)
            if rule.enabled
            for level in rule.levels
            if level.threshold is not None and level.holds_at(now)
        ],
        "trend": None,
    }
