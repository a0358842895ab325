# SPDX-License-Identifier: Apache-2.0
"""Runs of forecast models as rows. The caller owns the transaction; the views of callers cut what they may not see."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.alerts.forecasts import Curve
from broker.audiences import Audience
from broker.errors import AlreadyExists, ResourceNotFound
from broker.forecasts.runs import ForecastRun
from context_store.rows import row_of, rows_of, tuples_of

_INSERT: Final[LiteralString] = """
    insert into forecast_run (tenant_id, run_id, model, version, issued_at, expires_at, public_until, briefed_until,
                              content_hash, received_at)
    values (%(tenant_id)s, %(run_id)s, %(model)s, %(version)s, %(issued_at)s, %(expires_at)s, %(public_until)s,
            %(briefed_until)s, %(content_hash)s, %(now)s)
    on conflict do nothing returning run_key
"""
_KNOWN: Final[LiteralString] = "select content_hash from forecast_run where tenant_id = %s and run_id = %s"
_LINE: Final[LiteralString] = """
    insert into forecast_line (tenant_id, run_key, entity_id, attribute_id, line, unit_code, public_until,
                               briefed_until, valid_at, value)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_LAYER: Final[LiteralString] = """
    insert into forecast_layer (tenant_id, run_key, position, valid_at, public_until, briefed_until, depth_from,
                                depth_to, geometry)
    values (%s, %s, %s, %s, %s, %s, %s, %s, st_setsrid(st_force2d(st_geomfromgeojson(%s)), 4326))
"""
# A run that was issued earlier than the newest, or comes again, is kept and replaces nothing.
_NEWEST: Final[LiteralString] = """
    insert into forecast_series (tenant_id, entity_id, attribute_id, model, run_key, issued_at)
    select %(tenant_id)s, s.entity_id, s.attribute_id, %(model)s, %(run_key)s, %(issued_at)s
      from unnest(%(entities)s::text[], %(attributes)s::int[]) as s (entity_id, attribute_id)
     order by s.entity_id, s.attribute_id
    on conflict (tenant_id, entity_id, attribute_id, model)
    do update set run_key = excluded.run_key, issued_at = excluded.issued_at
            where forecast_series.issued_at <= excluded.issued_at
    returning entity_id, attribute_id
"""
_COLUMNS: Final[LiteralString] = """
    select r.run_key, r.run_id, r.model, r.version, r.issued_at, r.expires_at, r.public_until, r.briefed_until,
           r.received_at
"""
_RUN: Final[LiteralString] = _COLUMNS + " from forecast_run r where r.tenant_id = %s and r.run_id = %s"
_RUNS: Final[LiteralString] = (
    _COLUMNS
    + """
      from forecast_run r
     where r.tenant_id = %(tenant_id)s and (%(model)s::text is null or r.model = %(model)s)
       and (%(before)s::timestamptz is null or r.issued_at < %(before)s)
     order by r.issued_at desc, r.run_key desc limit %(limit)s
"""
)
_LINE_COLUMNS: Final[LiteralString] = """
    select r.run_id, r.model, r.version, r.issued_at, r.expires_at, l.entity_id,
           (select name from term where term_id = l.attribute_id) as attribute, l.line, l.unit_code, l.valid_at, l.value
"""
_CURRENT: Final[LiteralString] = (
    _LINE_COLUMNS
    + """
      from forecast_series s
      join forecast_run r on r.run_key = s.run_key
      join forecast_line l on l.run_key = s.run_key and l.entity_id = s.entity_id and l.attribute_id = s.attribute_id
     where s.tenant_id = %(tenant_id)s
       and (%(entity_id)s::text is null or s.entity_id = %(entity_id)s)
       and (%(attribute)s::text is null
            or s.attribute_id = (select term_id from term where name = %(attribute)s))
       and (%(model)s::text is null or s.model = %(model)s)
       and (%(all_lines)s or l.line = '')
     order by l.entity_id, l.attribute_id, r.model, l.line limit %(limit)s
"""
)
_LINES_OF: Final[LiteralString] = (
    _LINE_COLUMNS
    + """
      from forecast_run r join forecast_line l on l.run_key = r.run_key
     where r.tenant_id = %s and r.run_id = %s order by l.entity_id, l.attribute_id, l.line
"""
)
_LAYERS_OF: Final[LiteralString] = """
    select l.position, l.valid_at, l.public_until, l.briefed_until, l.depth_from, l.depth_to,
           st_asgeojson(l.geometry, 7)::jsonb as geometry
      from forecast_run r join forecast_layer l on l.run_key = r.run_key
     where r.tenant_id = %s and r.run_id = %s order by l.position
"""
# The runs that say something of one attribute of one entity.
_RUNS_OF_ONE: Final[LiteralString] = """
      from forecast_run r join forecast_line l on l.run_key = r.run_key
     where r.tenant_id = %(tenant_id)s and r.model = %(model)s and l.entity_id = %(entity_id)s and l.line = ''
       and l.attribute_id = (select term_id from term where name = %(attribute)s)
       and r.issued_at >= %(start)s and r.issued_at < %(end)s
"""
_TIMES: Final[LiteralString] = "array(select extract(epoch from t.at)::float8 from unnest(l.valid_at) t (at))"
_SAID: Final[LiteralString] = (
    f"select extract(epoch from r.issued_at)::float8, l.unit_code, {_TIMES}, l.value"
    f"{_RUNS_OF_ONE} order by r.issued_at limit %(limit)s"
)
# As rules looked at them: with when they expired, and not those that came when they had.
_CURVES: Final[LiteralString] = (
    f"select r.issued_at, extract(epoch from r.expires_at)::float8, {_TIMES}, l.value, l.unit_code"
    f"{_RUNS_OF_ONE} and r.received_at < r.expires_at order by r.issued_at, r.run_key limit %(limit)s"
)
_REMOVE: Final[LiteralString] = "delete from forecast_run where issued_at < %s and (model = %s) = %s"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run without what is in it."""

    run_key: int
    run_id: str
    model: str
    version: str
    issued_at: datetime
    expires_at: datetime
    public_until: datetime | None
    briefed_until: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredLine:
    """One line of one series, with its run."""

    run_id: str
    model: str
    version: str
    issued_at: datetime
    expires_at: datetime
    entity_id: str
    attribute: str
    line: str
    unit_code: str | None
    valid_at: list[datetime]
    value: list[float]


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """One polygon of a run."""

    position: int
    valid_at: datetime
    public_until: datetime | None
    briefed_until: datetime | None
    depth_from: float
    depth_to: float | None
    geometry: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AskedRuns:
    """Those of ``model`` for one attribute (its IRI) of one entity, issued from ``start`` until before ``end``."""

    model: str
    entity_id: str
    attribute: str
    start: datetime
    end: datetime
    limit: int


@dataclass(frozen=True, slots=True)
class AddedRun:
    """Which series it is the newest run for; None: it was known."""

    newest: frozenset[tuple[str, int]] | None


async def add_run(
    connection: AsyncConnection,
    tenant_id: int,
    run: ForecastRun,
    content: Mapping[str, Any],
    attributes: Mapping[str, int],
    now: datetime,
) -> AddedRun:
    """Keep ``run``; ``content`` is its document, ``attributes`` the numbers of its attributes.

    The same run again changes nothing. Raises :class:`AlreadyExists` for another one of the same name.
    """
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
    until = (run.seen_until(Audience.PUBLIC), run.seen_until(Audience.BRIEFED))
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "run_id": run.run_id,
        "model": run.model,
        "version": run.version,
        "issued_at": run.issued_at,
        "expires_at": run.expires_at,
        "public_until": until[0],
        "briefed_until": until[1],
        "content_hash": digest,
        "now": now,
    }
    row = await (await connection.execute(_INSERT, values)).fetchone()
    if row is None:
        known = await (await connection.execute(_KNOWN, (tenant_id, run.run_id))).fetchone()
        if known is None or bytes(known[0]) != digest:
            raise AlreadyExists(f"Run {run.run_id} is there with other content: give it another version")
        return AddedRun(None)
    place = (tenant_id, row[0])
    async with connection.cursor() as cursor:
        await cursor.executemany(_LINE, _line_rows(place, run, attributes, until))
        await cursor.executemany(_LAYER, _layer_rows(place, run, until))
    series = {
        "run_key": row[0],
        "entities": [one.entity_id for one in run.series],
        "attributes": [attributes[one.attribute] for one in run.series],
    }
    newest = await (await connection.execute(_NEWEST, values | series)).fetchall()
    return AddedRun(frozenset((entity_id, attribute) for entity_id, attribute in newest))


Until = tuple[datetime | None, datetime | None]


def _line_rows(
    place: tuple[int, int], run: ForecastRun, attributes: Mapping[str, int], until: Until
) -> Sequence[tuple[Any, ...]]:
    return [
        (*place, one.entity_id, attributes[one.attribute], name, one.unit_code, *until, list(one.valid_at), list(line))
        for one in run.series
        for name, line in one.lines.items()
    ]


def _layer_rows(place: tuple[int, int], run: ForecastRun, until: Until) -> Sequence[tuple[Any, ...]]:
    return [
        (*place, n, one.valid_at, *until, one.depth_from, one.depth_to, orjson.dumps(one.geometry).decode())
        for n, one in enumerate(run.layers)
    ]


async def list_runs(
    connection: AsyncConnection, tenant_id: int, *, model: str | None, before: datetime | None, limit: int
) -> list[StoredRun]:
    """Runs, the one issued last first."""
    values = {"tenant_id": tenant_id, "model": model, "before": before, "limit": limit}
    return await rows_of(connection, StoredRun, _RUNS, values)


async def get_run(
    connection: AsyncConnection, tenant_id: int, run_id: str
) -> tuple[StoredRun, list[StoredLine], list[StoredLayer]]:
    """A run with all that is in it. Raises :class:`ResourceNotFound`."""
    run = await row_of(connection, StoredRun, _RUN, (tenant_id, run_id))
    if run is None:
        raise ResourceNotFound(f"Run {run_id} does not exist")
    lines = await rows_of(connection, StoredLine, _LINES_OF, (tenant_id, run_id))
    return run, lines, await rows_of(connection, StoredLayer, _LAYERS_OF, (tenant_id, run_id))


async def current_lines(
    connection: AsyncConnection,
    tenant_id: int,
    *,
    entity_id: str | None,
    attribute: str | None,
    model: str | None,
    all_lines: bool,
    limit: int,
) -> list[StoredLine]:
    """The newest forecast of each series and model, also when it has expired."""
    values = {
        "tenant_id": tenant_id,
        "entity_id": entity_id,
        "attribute": attribute,
        "model": model,
        "all_lines": all_lines,
        "limit": limit,
    }
    return await rows_of(connection, StoredLine, _CURRENT, values)


async def said_of(
    connection: AsyncConnection, tenant_id: int, asked: AskedRuns
) -> list[tuple[float, str | None, list[float], list[float]]]:
    """What the runs say: when they were issued (seconds), in which unit, the times, the values."""
    return await tuples_of(connection, _SAID, {"tenant_id": tenant_id, **asdict(asked)})


async def recorded_curves(connection: AsyncConnection, tenant_id: int, asked: AskedRuns) -> list[Curve]:
    """What rules were told, in the order in which it was issued."""
    rows = await tuples_of(connection, _CURVES, {"tenant_id": tenant_id, **asdict(asked)})
    return [
        Curve(at, expires, list(zip(times, levels, strict=True)), unit) for at, expires, times, levels, unit in rows
    ]


async def remove_runs(connection: AsyncConnection, before: datetime, model: str, *, others: bool) -> int:
    """Remove the runs of ``model`` (or of all ``others``) that were issued before a time; how many they were."""
    return (await connection.execute(_REMOVE, (before, model, not others))).rowcount
