# SPDX-License-Identifier: Apache-2.0
"""Notifications of other brokers, taken in: read, converted, judged, committed; what is wrong with them is kept.

An entity that a registered device feeds is that device's: its parameters of quality, its maintenance, its silence.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from adapters.formats.broker_notifications import V2, BrokerNotification, read_notification, with_entities
from adapters.formats.ngsi_v2 import to_ngsi_ld
from api.http.json_bodies import parse_body
from api.hub import Hub
from broker.contexts.jsonld import TermMap
from broker.devices.model import AttributeMapping, Device
from broker.entities import EntityChange, ExpandedEntity
from broker.errors import NgsiLdError
from broker.expansion import EntityFragment, expand_entity, expand_fragment
from broker.history.temporal_input import GivenInstance, TemporalFragment
from broker.intake.inboxes import Inbox
from broker.intake.mirroring import Reading, split, take_over, too_far_ahead
from broker.intake.readings import Observation, Quarantined, Reason, UndecodablePayload, UnstorableBatch
from broker.operations import UpdateOutcome
from broker.times import parse_time, to_text
from broker.units import conversion
from context_store.devices.directory import CachedDeviceDirectory
from context_store.entities.batch import BatchItem, EntityBatch
from context_store.history.evolution import EvolutionStore
from context_store.intake.commits import PostgresReadingStore
from context_store.intake.inboxes import StoredInbox
from schemas.contexts import MINAMO_CONTEXT

TOPIC: Final = "notified/"
_LOOK_S: Final = 1.0  # between two looks for devices that have changed


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a notification, or a part of it, cannot be taken."""

    reason: Reason
    detail: str


@dataclass(slots=True)
class _Entity:
    """One entity of a notification on its way in."""

    given: Any
    entity: ExpandedEntity | None = None
    rest: EntityFragment = field(default_factory=EntityFragment)
    readings: list[Reading] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    late: list[GivenInstance] = field(default_factory=list)

    def refuse(self, detail: str, reason: Reason = Reason.UNDECODABLE) -> None:
        """Something of it cannot be taken."""
        name = _id_of(self.given)
        self.faults.append(Fault(reason, f"{name}: {detail}" if name else detail))


class NotificationTaker:
    """Takes notifications in for the inboxes of all tenants."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._directory = CachedDeviceDirectory(hub.database)
        self._by_entity: dict[tuple[int, str], list[Device]] = {}
        self._looked_at = -_LOOK_S
        self._batch = EntityBatch(hub.database, hub.terms, hub.history)
        self._evolution = EvolutionStore(hub.database, hub.terms, hub.history)
        self._store = PostgresReadingStore(hub.database, hub.terms, hub.history)

    async def take(
        self, inbox: StoredInbox, body: bytes, properties: Mapping[str, Any], received_at: datetime
    ) -> tuple[int, Quarantined | None]:
        """Store what can be taken, and the rest in quarantine; how many entities were whole, and what was not.

        Raises :class:`~broker.errors.StoreUnavailable`.
        """
        taken, fault = await self.process(inbox, body, properties, received_at)
        if fault is not None:
            await self._store.commit([], [fault])
        return taken, fault

    async def process(
        self, inbox: StoredInbox, body: bytes, properties: Mapping[str, Any], received_at: datetime
    ) -> tuple[int, Quarantined | None]:
        """The same without writing to quarantine."""
        try:
            document = parse_body(body)
            notification = read_notification(document, properties.get("attrsFormat"))
            terms = await self._terms(notification, properties.get("context"))
        except (NgsiLdError, UndecodablePayload) as exc:
            return 0, _quarantined(inbox, body, properties, received_at, [Fault(Reason.UNDECODABLE, str(exc))])
        await self._look()
        default = _moment(notification.notified_at) or received_at
        entities = [self._read(inbox, notification, given, terms, default) for given in notification.entities]
        for entity in entities:
            self._check_times(entity, received_at)
        await self._write_rest(inbox.tenant_id, [entity for entity in entities if entity.entity is not None])
        await self._write_readings(inbox, [entity for entity in entities if entity.entity is not None], received_at)
        wrong = [entity for entity in entities if entity.faults]
        if not wrong:
            return len(entities), None
        if len(wrong) < len(entities):
            body = orjson.dumps(with_entities(document, [entity.given for entity in wrong]))
        faults = [fault for entity in wrong for fault in entity.faults]
        return len(entities) - len(wrong), _quarantined(inbox, body, properties, received_at, faults)

    async def _terms(self, notification: BrokerNotification, link: str | None) -> TermMap:
        if notification.kind == V2:
            return await self._hub.contexts.resolve(MINAMO_CONTEXT)
        return await self._hub.contexts.resolve(link or notification.context)

    async def _look(self) -> None:
        """Take in what has changed in the registry of devices."""
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        if await self._directory.refresh():
            self._by_entity = {}
            for device in self._directory.all():
                self._by_entity.setdefault((device.tenant_id, device.entity_id), []).append(device)
        self._looked_at = time.monotonic()

    def _read(
        self, inbox: StoredInbox, notification: BrokerNotification, given: Any, terms: TermMap, default: datetime
    ) -> _Entity:
        found = _Entity(given)
        if not isinstance(given, dict):
            found.refuse(f"an entity has to be an object, not {type(given).__name__}")
            return found
        document = {name: value for name, value in given.items() if name != "@context"}
        try:
            if notification.kind == V2:
                document, faults = to_ngsi_ld(document, inbox.inbox)
                for fault in faults:
                    found.refuse(fault)
            else:
                document = _renamed(document, inbox.inbox)
            found.entity = expand_entity({name: document.get(name) for name in ("id", "type")}, terms)
        except (UndecodablePayload, NgsiLdError) as exc:
            found.refuse(str(exc))
            return found
        fragment = _fragment(document, terms, found)
        found.readings, found.rest = split(fragment, default)
        return found

    def _check_times(self, found: _Entity, received_at: datetime) -> None:
        settings = self._hub.settings
        latest = received_at + timedelta(seconds=settings.future_tolerance_s)
        oldest = received_at - timedelta(days=settings.max_reading_age_days)
        ahead = dict(too_far_ahead(found.rest, latest))
        for attribute, by in ahead.items():
            found.refuse(f"{attribute} is dated {round(by.total_seconds())} s too late", Reason.IN_THE_FUTURE)
        if ahead:
            kept = {name: group for name, group in found.rest.attributes.items() if name not in ahead}
            found.rest = EntityFragment(kept, found.rest.types, found.rest.scopes, found.rest.expires_at, found.rest.id)
        for reading in list(found.readings):
            if oldest <= reading.observed_at <= latest:
                continue
            is_ahead = reading.observed_at > latest
            reason = Reason.IN_THE_FUTURE if is_ahead else Reason.TOO_OLD
            found.refuse(f"{reading.attribute} is dated {to_text(reading.observed_at)}", reason)
            found.readings.remove(reading)

    async def _write_rest(self, tenant_id: int, entities: Sequence[_Entity]) -> None:
        items = [BatchItem(entity.entity.id, _operation(entity)) for entity in entities if entity.entity]
        for entity, outcome in zip(entities, await self._batch.run(tenant_id, items) if items else (), strict=True):
            if isinstance(outcome, NgsiLdError):
                entity.refuse(outcome.detail)
                entity.readings = []
            elif entity.late and entity.entity:
                await self._evolution.append(tenant_id, entity.entity.id, TemporalFragment(tuple(entity.late)))

    async def _write_readings(self, inbox: StoredInbox, entities: Sequence[_Entity], received_at: datetime) -> None:
        observations = [
            observation for entity in entities for observation in self._observations(inbox, entity, received_at)
        ]
        if not observations:
            return
        try:
            await self._store.commit(observations, [])
        except UnstorableBatch as exc:
            for entity in entities:
                entity.refuse(str(exc), Reason.REFUSED_BY_STORE)

    def _observations(self, inbox: StoredInbox, found: _Entity, received_at: datetime) -> list[Observation]:
        """The readings of an entity, as those of the device that feeds it, else of the inbox."""
        told: dict[tuple[Device, datetime], list[tuple[AttributeMapping, Any]]] = {}
        for reading in found.readings:
            device, mapping = self._source(inbox, found, reading)
            value = _stored(mapping, reading)
            if isinstance(value, Fault):
                found.refuse(value.detail, value.reason)
                continue
            told.setdefault((device, reading.observed_at), []).append((mapping, value))
        return [
            Observation(device, observed_at, tuple(values), received_at=received_at)
            for (device, observed_at), values in told.items()
        ]

    def _source(self, inbox: StoredInbox, found: _Entity, reading: Reading) -> tuple[Device, AttributeMapping]:
        entity = found.entity
        if entity is None:
            raise ValueError("an entity that cannot be read has no readings")
        for device in self._by_entity.get((inbox.tenant_id, entity.id), ()):
            for mapping in device.attributes if device.in_service(reading.observed_at) else ():
                if (mapping.attribute, mapping.dataset) == (reading.attribute, reading.dataset):
                    return device, mapping
        device = _mirrored(
            inbox.tenant_id, inbox.key, entity.id, entity.types, reading.attribute, reading.dataset, reading.unit
        )
        return device, device.attributes[0]


@lru_cache(maxsize=20_000)
def _mirrored(
    tenant_id: int, key: str, entity_id: str, types: tuple[str, ...], attribute: str, dataset: str, unit: str | None
) -> Device:
    """What stands for a device that another broker speaks for."""
    return Device(
        tenant_id=tenant_id,
        device_id=key,
        key=source_of(key),
        name=entity_id,
        entity_id=entity_id,
        entity_types=types,
        attributes=(AttributeMapping(attribute, attribute, unit, dataset=dataset),),
    )


def source_of(inbox_key: str) -> str:
    """The source of what came by an inbox, in history and in quarantine; no device has such a key."""
    return f"inbox:{inbox_key}"


def _operation(found: _Entity) -> Any:
    def operation(stored: ExpandedEntity | None, now: datetime) -> EntityChange | UpdateOutcome:
        entity = found.entity
        if entity is None:
            raise ValueError("an entity that cannot be read is not written")
        outcome, found.late = take_over(stored, entity.with_attributes(found.rest.attributes), found.rest, now)
        return outcome

    return operation


def _fragment(document: dict[str, Any], terms: TermMap, found: _Entity) -> EntityFragment:
    """The document expanded; where something in it is wrong, what is right of it."""
    try:
        return expand_fragment(document, terms, allow_null=True)
    except NgsiLdError:
        pass
    attributes: dict[str, Any] = {}
    for name, value in document.items():
        try:
            if name not in ("id", "type"):
                attributes |= expand_fragment({name: value}, terms, allow_null=True).attributes
        except NgsiLdError as exc:
            found.refuse(exc.detail)
    types = found.entity.types if found.entity else ()
    return EntityFragment(attributes, types)


def _renamed(document: dict[str, Any], inbox: Inbox) -> dict[str, Any]:
    """An entity of NGSI-LD with the names that the inbox gives."""
    names = inbox.attribute_names
    found = {names.get(name, name): value for name, value in document.items() if names.get(name, name)}
    kinds = document.get("type")
    if isinstance(kinds, str):
        found["type"] = inbox.type_names.get(kinds, kinds)
    return found


def _stored(mapping: AttributeMapping, reading: Reading) -> float | str | bool | Fault:
    """The value in the unit and within the bounds that the mapping declares."""
    value = reading.value
    if isinstance(value, str | bool):
        return value
    if reading.unit and mapping.unit_code and reading.unit != mapping.unit_code:
        converted = conversion(reading.unit, mapping.unit_code)
        if converted is None:
            detail = f"{reading.attribute} is in {reading.unit}, which cannot be turned into {mapping.unit_code}"
            return Fault(Reason.WRONG_UNIT, detail)
        value = value * converted[0] + converted[1]
    lowest, highest = mapping.minimum, mapping.maximum
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        return Fault(Reason.OUT_OF_RANGE, f"{reading.attribute} is {value!r}, outside of what the device declares")
    return value


def _moment(text: str | None) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _id_of(given: Any) -> str | None:
    found = given.get("id") if isinstance(given, dict) else None
    return found if isinstance(found, str) else None


def _quarantined(
    inbox: StoredInbox, body: bytes, properties: Mapping[str, Any], received_at: datetime, faults: list[Fault]
) -> Quarantined:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Quarantined(
        received_at=received_at,
        topic=TOPIC + inbox.key,
        payload=body,
        reason=faults[0].reason,
        detail=faults[0].detail + more,
        device_key=source_of(inbox.key),
        tenant_id=inbox.tenant_id,
        properties=dict(properties),
    )
