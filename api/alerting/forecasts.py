# SPDX-License-Identifier: Apache-2.0
"""Taking in a run of a forecast model: kept as a run, and told as what entities say of times to come.

The newest run of a model stands at the entities of its stations, as JsonProperties whose values expire with it:
``forecast`` has all of it (for staff), ``briefedForecast`` and ``publicForecast`` what these may see; their datasetId
names the model. Polygons are entities of type ``InundationForecast`` that expire with the run, in the scope of their
audience. So rules, subscriptions, streams and GeoJSON need nothing of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from api.hub import Hub
from api.workers.alarms import with_attributes
from broker.alerts.forecasts import FORECAST, forecast_dataset
from broker.audiences import SCOPES, Audience
from broker.entities import AttributeKind, EntityChange, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.forecasts.curves import curve_document
from broker.forecasts.runs import ForecastLayer, ForecastRun, ForecastSeries, cut
from broker.times import to_text
from context_store.entities.changes import API_SOURCE, StoredEntity, creation, lock_entities
from context_store.forecasts.runs import add_run
from schemas.terms import DEFAULT_VOCABULARY, LOCATION, NO_DATASET

INUNDATION: Final = DEFAULT_VOCABULARY + "InundationForecast"
OF_AUDIENCE: Final[Mapping[Audience, str]] = {
    Audience.STAFF: FORECAST,
    Audience.BRIEFED: DEFAULT_VOCABULARY + "briefedForecast",
    Audience.PUBLIC: DEFAULT_VOCABULARY + "publicForecast",
}
LABEL: Final = {
    "ja": "モデルによる計算値です。観測値ではありません。",
    "en": "Computed by a model, not measured.",
}
_ID: Final = "urn:ngsi-ld:InundationForecast:"
_LAYERS_THERE: Final = 'select id from entity where tenant_id = %s and id collate "C" >= %s and id < %s'


async def take_run(hub: Hub, tenant_id: int, run: ForecastRun, content: Mapping[str, Any], now: datetime) -> bool:
    """Keep ``run`` and tell what is new by it; False when it was known.

    A run that comes too late (issued before the newest, or expired) is kept for verification and told nobody. Raises
    :class:`BadRequestData` for entities that are not there, :class:`~broker.errors.AlreadyExists`.
    """
    names = {one.attribute for one in run.series} | {*OF_AUDIENCE.values()}
    datasets = {forecast_dataset(run.model, one.attribute) for one in run.series}
    numbers = await hub.terms.resolve([*names, *datasets])
    await hub.history.ensure({now, run.issued_at})
    async with hub.database.transaction(tenant_id) as connection:
        ids = sorted({one.entity_id for one in run.series})
        stored = await lock_entities(connection, tenant_id, ids)
        if missing := [entity_id for entity_id in ids if entity_id not in stored]:
            raise BadRequestData(f"series: {', '.join(missing[:5])} do not exist")
        added = await add_run(connection, tenant_id, run, content, numbers, now)
        if added.newest is None:
            return False
        if run.expires_at <= now:
            return True
        for entity_id, own in _by_entity(run.series).items():
            newest = [one for one in own if (entity_id, numbers[one.attribute]) in added.newest]
            if newest:
                change = with_attributes(stored[entity_id], _told(run, newest, now), now)
                key = stored[entity_id].key
                await hub.writer.write(connection, tenant_id, key, change, source=API_SOURCE, now=now)
        await _tell_layers(hub, connection, tenant_id, run, now)
    return True


def _by_entity(series: Iterable[ForecastSeries]) -> dict[str, list[ForecastSeries]]:
    found: dict[str, list[ForecastSeries]] = {}
    for one in series:
        found.setdefault(one.entity_id, []).append(one)
    return found


def _told(run: ForecastRun, series: Iterable[ForecastSeries], now: datetime) -> dict[str, dict[str, Instance]]:
    """What an entity says of times to come, for each audience as far as it may look."""
    told: dict[str, dict[str, Instance]] = {}
    for one in series:
        for audience, name in OF_AUDIENCE.items():
            until = None if audience is Audience.STAFF else run.seen_until(audience)
            if audience is not Audience.STAFF and until is None:
                continue
            count = len(one.valid_at) if until is None else cut(one.valid_at, until)
            if count:
                told.setdefault(name, {})[forecast_dataset(run.model, one.attribute)] = {
                    "type": AttributeKind.JSON_PROPERTY.value,
                    "json": curve_document(run, one, count),
                    "observedAt": to_text(run.issued_at),
                    "expiresAt": to_text(run.expires_at),
                    "createdAt": to_text(now),
                    "modifiedAt": to_text(now),
                }
    return told


async def _tell_layers(hub: Hub, connection: AsyncConnection, tenant_id: int, run: ForecastRun, now: datetime) -> None:
    """Put the polygons of ``run`` in the place of those of the run before, unless that is a newer one."""
    prefix = f"{_ID}{run.model}:"
    rows = await (await connection.execute(_LAYERS_THERE, (tenant_id, prefix, prefix[:-1] + ";"))).fetchall()
    if not run.layers and not rows:
        return
    entities = {entity.id: entity for entity in (_layer_entity(run, n, one, now) for n, one in enumerate(run.layers))}
    stored = await lock_entities(connection, tenant_id, sorted({row[0] for row in rows} | entities.keys()))
    if any(_issued(one.entity) > to_text(run.issued_at) for one in stored.values()):
        return
    for entity_id, entity in entities.items():
        before = stored.get(entity_id)
        change = creation(entity) if before is None else _replaced(before, entity, now)
        key = None if before is None else before.key
        await hub.writer.write(connection, tenant_id, key, change, source=API_SOURCE, now=now)
    for entity_id, gone in stored.items():
        if entity_id not in entities:
            change = EntityChange(gone.entity, None, ())
            await hub.writer.write(connection, tenant_id, gone.key, change, source=API_SOURCE, now=now)


def _issued(entity: ExpandedEntity) -> str:
    group = entity.attributes.get(DEFAULT_VOCABULARY + "issuedAt", {})
    return str(group.get(NO_DATASET, {}).get("value", {}).get("@value", ""))


def _replaced(before: StoredEntity, entity: ExpandedEntity, now: datetime) -> EntityChange:
    change = with_attributes(before, entity.attributes, now)
    after = ExpandedEntity(
        entity.id,
        entity.types,
        change.after.attributes if change.after else entity.attributes,
        entity.scopes,
        before.entity.created_at,
        entity.modified_at,
        entity.expires_at,
    )
    return EntityChange(before.entity, after, change.attributes)


def _layer_entity(run: ForecastRun, number: int, layer: ForecastLayer, now: datetime) -> ExpandedEntity:
    """A polygon as an entity; its place in the run is its name, so that the next run takes it over."""
    moments = {"observedAt": to_text(run.issued_at), "createdAt": to_text(now), "modifiedAt": to_text(now)}
    values: dict[str, Any] = {
        "issuedAt": {"@type": "DateTime", "@value": to_text(run.issued_at)},
        "validAt": {"@type": "DateTime", "@value": to_text(layer.valid_at)},
        "leadSeconds": (layer.valid_at - run.issued_at).total_seconds(),
        "model": run.model,
        "modelVersion": run.version,
        "runId": run.run_id,
        "label": LABEL["ja"],
        "depthFrom": layer.depth_from,
    } | ({} if layer.depth_to is None else {"depthTo": layer.depth_to})
    attributes: dict[str, dict[str, Instance]] = {
        DEFAULT_VOCABULARY + name: {NO_DATASET: {"type": AttributeKind.PROPERTY.value, "value": value, **moments}}
        for name, value in values.items()
    }
    for name in ("depthFrom", "depthTo"):
        if DEFAULT_VOCABULARY + name in attributes:
            attributes[DEFAULT_VOCABULARY + name][NO_DATASET]["unitCode"] = "MTR"
    place = {"type": AttributeKind.GEO_PROPERTY.value, "value": dict(layer.geometry), **moments}
    return ExpandedEntity(
        id=f"{_ID}{run.model}:{number}",
        types=(INUNDATION,),
        attributes=attributes | {LOCATION: {NO_DATASET: place}},
        scopes=SCOPES[_audience_of(run, layer.valid_at)],
        created_at=now,
        modified_at=now,
        expires_at=run.expires_at,
    )


def _audience_of(run: ForecastRun, moment: datetime) -> Audience:
    """The widest audience that may look so far ahead."""
    for audience in (Audience.PUBLIC, Audience.BRIEFED):
        until = run.seen_until(audience)
        if until is not None and moment <= until:
            return audience
    return Audience.STAFF
