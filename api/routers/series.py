# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/entities/{id}/series/{attribute}``: one attribute over time, as a chart wants it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response

from api.http.requests import QUALITIES, TenantId, expand_name, parse_moment, parse_qualities, short_name
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import answers
from broker.errors import BadRequestData, ResourceNotFound
from broker.history.series import (
    GAP_STEPS,
    Bucket,
    Method,
    Point,
    extremes,
    largest_triangles,
    usual_step,
    usual_step_of_buckets,
    with_gaps,
)
from broker.times import to_text, to_text_or_none
from context_store.history.series import FoundSeries, SeriesQuestion, SeriesStore
from schemas.terms import NO_DATASET

_DEFAULT_SPAN: Final = timedelta(hours=24)
_CSV: Final = "text/csv"


_ANSWERS: Final = answers("ChartSeries", ResourceNotFound)
_ANSWERS[200]["content"][_CSV] = {"schema": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class _Plot:
    """What is drawn, and the numbers that stand beside it."""

    method: Method
    gap_s: float | None
    points: list[Point]
    count: int
    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None
    low: tuple[float, float] | None = None
    high: tuple[float, float] | None = None


def series_router(hub: Hub) -> APIRouter:
    """The route on ``hub``."""
    router = APIRouter(prefix="/api/v1/entities", tags=["history"])
    store = SeriesStore(hub.database, hub.terms)

    @router.get(
        "/{entity_id:path}/series/{attribute:path}",
        summary="One attribute over time, for a chart / 図のための時系列",
        responses=_ANSWERS,
    )
    async def series(
        tenant_id: TenantId,
        entity_id: Annotated[str, Path(description="URI of the entity")],
        attribute: Annotated[str, Path(description="Name or IRI of the attribute")],
        start: Annotated[str | None, Query(alias="from", description="ISO 8601; default: 24 hours before to")] = None,
        end: Annotated[str | None, Query(alias="to", description="ISO 8601, not included; default: now")] = None,
        points: Annotated[int, Query(ge=4, le=10_000, description="About how many points, such as pixels")] = 800,
        method: Annotated[Literal["lttb", "minmax"], Query(description="How points are chosen")] = "minmax",
        gap: Annotated[float | None, Query(gt=0, description="Seconds; a longer pause is a gap")] = None,
        dataset_id: Annotated[str | None, Query(alias="datasetId")] = None,
        as_known_at: Annotated[
            str | None, Query(alias="asKnownAt", description="What was believed at this time")
        ] = None,
        quality: Annotated[str | None, Query(description=QUALITIES)] = None,
        form: Annotated[Literal["json", "csv"] | None, Query(alias="format")] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        until = parse_moment(end, "to") if end else datetime.now(UTC)
        since = parse_moment(start, "from") if start else until - _DEFAULT_SPAN
        if since >= until:
            raise BadRequestData("from is not before to")
        question = SeriesQuestion(
            entity_id,
            await expand_name(hub, tenant_id, entity_id, attribute),
            since,
            until,
            points,
            points if method == "lttb" else points // 2,
            dataset_id or NO_DATASET,
            parse_moment(as_known_at, "asKnownAt") if as_known_at else None,
            parse_qualities(quality),
        )
        found = await store.read(tenant_id, question)
        plot = _plot(found, question, Method(method), gap, hub.settings.stale_factor)
        if form == "csv" or (form is None and _CSV in accept):
            return Response(_csv(plot.points), media_type=_CSV)
        return Json(_document(question, found, plot))

    return router


def _plot(
    found: FoundSeries, question: SeriesQuestion, method: Method, gap: float | None, stale_factor: float
) -> _Plot:
    if gap is None and found.expected_interval_s is not None:
        gap = found.expected_interval_s * stale_factor
    if not found.buckets:
        return _all_of(list(found.readings or ()), gap)
    if gap is None and (step := usual_step_of_buckets(found.buckets)) is not None:
        gap = step * GAP_STEPS
    # A shorter pause could not be seen.
    gap = max(gap, found.width_s) if gap is not None else None
    return _chosen_of(found.buckets, method, question.most, gap)


def _all_of(readings: list[Point], gap: float | None) -> _Plot:
    if not readings:
        return _Plot(Method.RAW, gap, [], 0)
    if gap is None and (step := usual_step(readings)) is not None:
        gap = step * GAP_STEPS
    pairs = [(point.time, point.value or 0.0) for point in readings]
    low, high = min(pairs, key=lambda pair: pair[1]), max(pairs, key=lambda pair: pair[1])
    return _Plot(Method.RAW, gap, with_gaps(readings, gap), len(readings), pairs[0], pairs[-1], low, high)


def _chosen_of(buckets: tuple[Bucket, ...], method: Method, most: int, gap: float | None) -> _Plot:
    points = largest_triangles(buckets, most, gap) if method is Method.LTTB else extremes(buckets, gap)
    low = min((bucket.low for bucket in buckets), key=lambda pair: pair[1])
    high = max((bucket.high for bucket in buckets), key=lambda pair: pair[1])
    count = sum(bucket.count for bucket in buckets)
    return _Plot(method, gap, points, count, buckets[0].first, buckets[-1].last, low, high)


def _document(question: SeriesQuestion, found: FoundSeries, plot: _Plot) -> dict[str, Any]:
    """The JSON form; described for clients as ChartSeries in api.openapi.history_schemas."""
    return {
        "entityId": question.entity_id,
        "attribute": short_name(question.attribute),
        "attributeIri": question.attribute,
        "datasetId": None if question.dataset == NO_DATASET else question.dataset,
        "unitCode": found.units[0] if len(found.units) == 1 else None,
        "unitCodes": found.units,
        "from": to_text(question.start),
        "to": to_text(question.end),
        "asKnownAt": to_text_or_none(question.known_at),
        "method": plot.method,
        "rollup": found.rollup,
        "gapSeconds": plot.gap_s,
        "count": plot.count,
        "first": _extreme(plot.first),
        "last": _extreme(plot.last),
        "min": _extreme(plot.low),
        "max": _extreme(plot.high),
        "columns": list(_COLUMNS),
        "data": [list(column) for column in zip(*plot.points, strict=True)] or [[] for _ in _COLUMNS],
    }


_COLUMNS: Final = ("time", "value", "notGood")


def _extreme(pair: tuple[float, float] | None) -> dict[str, Any] | None:
    return {"observedAt": _time_text(pair[0]), "value": pair[1]} if pair else None


def _time_text(seconds: float) -> str:
    return to_text(datetime.fromtimestamp(seconds, UTC))


def _csv(points: list[Point]) -> str:
    """The points as lines; a gap is a line without a value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((_time_text(point.time), point.value, point.not_good) for point in points)
    return text.getvalue()
