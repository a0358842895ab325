# SPDX-License-Identifier: Apache-2.0
"""Reading attribute instances out of ``attribute_instance``: the statements, and rows as :class:`HistoricInstance`.

Each attribute is read by itself along the primary key (entity, attribute, time) and no further than an answer can
hold, so that a year of readings costs what the page costs. The statements are the same for native partitions and for
a hypertable; both order by time without sorting and skip what lies outside of the range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, NamedTuple

from broker.entities import VALUE_MEMBER, Instance
from broker.history.temporal import HistoricInstance, TemporalQuery, TimeProperty
from broker.quality.flags import QUALITY, quality_attributes
from broker.times import to_texts
from context_store.history.terms import NO_TERM
from context_store.history.writing import KIND_NAME, QUALITY_NAME, typed_value
from schemas.terms import NO_DATASET

BELIEVED: Final[LiteralString] = """
           and i.recorded_at <= %(known_at)s::timestamptz
           and (i.superseded_at is null or i.superseded_at > %(known_at)s::timestamptz)"""
"""What was believed at ``known_at`` (infinity: what is believed now), of rows ``i``."""
NOT_EXPIRED: Final[LiteralString] = """
           and ((i.detail ->> 'expiresAt')::timestamptz > now()) is not false"""
"""Transient instances are gone when their time is over, collected or not (clause 4.22)."""

_SUPERSEDED: Final[LiteralString] = " and i.superseded_at <= %(known_at)s::timestamptz"
_HEAD: Final[LiteralString] = """
    select i.entity_key, i.attribute_id, i.dataset_id, i.kind, i.observed_at, i.has_observed_at, i.removed,
           i.recorded_at, i.superseded_at, i.instance_key, i.number_value, i.text_value, i.boolean_value, i.json_value,
           i.unit_code, i.detail, i.quality
      from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(since)s::timestamptz[], %(until)s::timestamptz[])
           as wanted (entity_key, attribute_id, since, until)
     cross join lateral (
        select * from attribute_instance i
         where i.entity_key = wanted.entity_key and i.tenant_id = %(tenant_id)s
           and i.attribute_id = wanted.attribute_id"""
WANTED: Final[LiteralString] = """
           and (i.has_observed_at or not %(only_observed)s)
           and not (i.removed and i.quality is not null)  -- moments without a value are none of NGSI-LD
           and (i.removed = %(removed)s::boolean or %(removed)s::boolean is null)
           and (i.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)"""
"""Which rows ``i`` count at all (:func:`bounds_of`)."""
IN_OBSERVED: Final[LiteralString] = """
           and i.observed_at >= %(start)s::timestamptz and i.observed_at < %(end)s::timestamptz"""
_IN_RECORDED: Final[LiteralString] = """
           and i.recorded_at >= %(start)s::timestamptz and i.recorded_at < %(end)s::timestamptz"""
_WITHIN: Final[LiteralString] = " and i.AXIS >= wanted.since and i.AXIS < wanted.until"
# Instances of the same time stand in the order in which the hub learned of them.
_FIRST: Final[LiteralString] = " order by i.AXIS, i.recorded_at, i.instance_key limit %(limit)s) i"
_LAST: Final[LiteralString] = " order by i.AXIS desc, i.recorded_at desc, i.instance_key desc limit %(limit)s) i"

_EVER: Final = ("-infinity", "infinity")


class Series(NamedTuple):
    """An attribute of one life of an entity, between two times if not always; ``owner`` is the entity's newest life."""

    key: int
    attribute: int
    owner: int
    since: str = _EVER[0]
    until: str = _EVER[1]


def history_statement(
    tenant_id: int,
    series: Sequence[Series],
    query: TemporalQuery,
    most: int,
    datasets: Sequence[int] | None = None,
    *,
    superseded: bool = False,
) -> tuple[LiteralString, dict[str, Any]]:
    """What reads the instances of ``series``, at most ``most`` of each; or those that are believed no longer."""
    last = query.last_n is not None and not superseded
    values = {
        "tenant_id": tenant_id,
        "datasets": None if datasets is None else list(datasets),
        "limit": most if query.last_n is None or superseded else min(query.last_n, most),
        **columns_of(series),
        **bounds_of(query),
    }
    by_observed = query.time_property is TimeProperty.OBSERVED_AT
    statement = _HEAD + WANTED + (_SUPERSEDED if superseded else BELIEVED) + NOT_EXPIRED
    statement += IN_OBSERVED if by_observed else _IN_RECORDED
    statement += _WITHIN if is_bounded(series) else ""
    statement += _LAST if last else _FIRST
    return statement.replace("AXIS", axis_of(query)), values


def columns_of(series: Sequence[Series]) -> dict[str, Any]:
    """The columns of ``series`` as parameters."""
    return {
        "keys": [item.key for item in series],
        "attributes": [item.attribute for item in series],
        "since": [item.since for item in series],
        "until": [item.until for item in series],
    }


def is_bounded(series: Sequence[Series]) -> bool:
    """Whether one of them is not wanted for all times."""
    return any((item.since, item.until) != _EVER for item in series)


def bounds_of(query: TemporalQuery) -> dict[str, Any]:
    """The range, and which rows count at all: those that were believed, and have the time property once a range is
    asked for."""
    removed: bool | None = None
    if query.time_property is TimeProperty.DELETED_AT:
        removed = True
    elif query.restricted and query.time_property is not TimeProperty.OBSERVED_AT:
        removed = False
    return {
        "start": query.start.isoformat() if query.start else "-infinity",
        "end": query.end.isoformat() if query.end else "infinity",
        "only_observed": query.restricted and query.time_property is TimeProperty.OBSERVED_AT,
        "removed": removed,
        "known_at": query.as_known_at.isoformat() if query.as_known_at else "infinity",
    }


def is_within_partitions(query: TemporalQuery) -> bool:
    """Whether a query is about a time that leaves partitions and chunks out, if it is planned for its values."""
    return query.time_property is TimeProperty.OBSERVED_AT and query.start is not None


def axis_of(query: TemporalQuery) -> LiteralString:
    """The column with the time property of a query."""
    return "observed_at" if query.time_property is TimeProperty.OBSERVED_AT else "recorded_at"


def on_first_page(rows: Sequence[tuple[Any, ...]], most: int, *, by_observed: bool) -> Sequence[tuple[Any, ...]]:
    """Those rows of :func:`history_statement` that decide where the page of the oldest ``most`` instances is cut: the
    first of each attribute, and what is no later than the first instance that is too many."""
    if len(rows) <= most:
        return rows
    place = 4 if by_observed else 7
    limit = sorted([row[place] for row in rows])[most]
    firsts = {row[:2]: row for row in reversed(rows)}
    return [row for row in rows if row[place] <= limit or firsts[row[:2]] is row]


def from_rows(
    rows: Sequence[tuple[Any, ...]], names: Mapping[int, str], *, by_observed: bool
) -> Iterator[HistoricInstance]:
    """The rows of :func:`history_statement`; times in UTC."""
    for row, observed_text in zip(rows, to_texts(row[4] for row in rows), strict=True):
        _, attribute_id, dataset_id, kind_number, observed_at, has_observed_at, removed, recorded_at = row[:8]
        superseded_at, key, number, text, boolean, json_value, unit_code, detail, quality = row[8:]
        kind = KIND_NAME[kind_number]
        instance: Instance = {"type": kind}
        if not removed:
            instance[VALUE_MEMBER[kind]] = typed_value(kind, number, text, boolean, json_value)
        if has_observed_at:
            instance["observedAt"] = observed_text
        if unit_code is not None:
            instance["unitCode"] = unit_code
        if detail:
            instance |= detail
        yield HistoricInstance(
            names[attribute_id],
            NO_DATASET if dataset_id == NO_TERM else names[dataset_id],
            instance if quality is None else _with_quality(instance, quality),
            key,
            _utc(recorded_at),
            _utc(observed_at if by_observed else recorded_at),
            removed,
            None if superseded_at is None else _utc(superseded_at),
        )


def _with_quality(instance: Instance, quality: int) -> Instance:
    """``instance``, which says its quality if the row does; the reasons are in its own sub-attributes then."""
    if QUALITY in instance.get("attrs", {}):
        return instance
    return {**instance, "attrs": {**instance.get("attrs", {}), **quality_attributes(QUALITY_NAME[quality])}}


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
