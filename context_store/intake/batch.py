# SPDX-License-Identifier: Apache-2.0
"""What becomes of each reading of a batch: decided against the present state of the entities, before it is written.

What is said of the quality of a reading (:mod:`broker.quality`) follows from the attribute instance that it replaces,
so it is decided here, where that is locked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from broker.devices.maintenance import in_maintenance
from broker.devices.model import PRESENT_ONLY, AttributeMapping
from broker.entities import Attributes, Instance
from broker.intake.readings import Observation
from broker.quality import (
    GOOD,
    Flag,
    Past,
    Reason,
    Verdict,
    is_plain,
    is_unremarkable,
    judge,
    judge_alone,
    past_of,
    quality_attributes,
)
from broker.times import to_text
from context_store.events import GOOD_IN_EVENTS
from context_store.history.corrections import PastRow, Slot
from context_store.history.writing import QUALITY_NUMBER, InstanceRows, NumberRows, Place, RowKey, value_hash

_OLDEST: Final = datetime.min.replace(tzinfo=UTC)
_GOOD: Final = QUALITY_NUMBER[Flag.GOOD]
_MAINTAINED: Final = QUALITY_NUMBER[Flag.MAINTENANCE]

_GOOD_ATTRS: Final = b',"attrs":%b}' % orjson.dumps(GOOD)

Instances = dict[str, Any]  # of one attribute by dataset: Instance, or one of this batch as it is written
_Decided = tuple[AttributeMapping, Any, Attributes | None]  # a value that becomes current, and its sub-attributes


class EntityState:
    """What a batch knows of one entity; ``newest``, ``values`` and ``remarkable`` are by attribute and dataset, and run
    ahead of ``attributes`` until the batch is folded. History may have instances until ``look_until``, and of each
    attribute until its current value; after ``known_until`` it has none of any. ``held`` are the moments of current
    values that are suspected of a jump, which the next reading decides about; ``remarkable`` is the past of those of
    which more is said than that they are good. ``told`` are the present values that this batch has written, as events
    have them, with their createdAt. ``version`` is that of the row (:mod:`context_store.intake.known`)."""

    __slots__ = (
        *("attributes", "changed", "held", "key", "known_until", "look_until", "newest", "remarkable"),
        *("tenant_id", "told", "values", "version"),
    )

    def __init__(self, key: int, tenant_id: int, look_until: datetime | None, version: tuple[str, datetime]) -> None:
        self.key = key
        self.version = version
        self.tenant_id = tenant_id
        self.look_until = self.known_until = look_until or _OLDEST
        self.attributes: dict[str, Instances] = {}
        self.newest: dict[tuple[str, str], datetime] = {}
        self.values: dict[tuple[str, str], Any] = {}
        self.remarkable: dict[tuple[str, str], Past | None] = {}
        self.held: dict[tuple[str, str], datetime] = {}
        self.changed: set[str] = set()
        self.told: dict[tuple[str, str], tuple[bytes, str]] = {}

    def load(self, attribute: str, slot: Instances | None) -> None:
        """Take in the present instances of ``attribute``."""
        self.attributes[attribute] = slot or {}
        for dataset, instance in self.attributes[attribute].items():
            observed_at = instance.get("observedAt")
            newest = datetime.fromisoformat(observed_at) if observed_at else _OLDEST
            self.newest[attribute, dataset] = newest
            self.known_until = max(self.known_until, newest)
            self.values[attribute, dataset] = instance.get("value")
            if not is_plain(instance):
                past = self.remarkable[attribute, dataset] = past_of(instance)
                if past is not None and past.jumped:
                    self.held[attribute, dataset] = past.at

    def settle(self, written: tuple[str, datetime] | None) -> bool:
        """The batch is committed: be what the next one would load. False when it has to load that.

        ``written`` is the version of what the batch changed.
        """
        if self.remarkable or (self.changed and written is None):
            return False
        if self.changed and written is not None:
            self.version = written
        self.changed.clear()
        self.known_until = max(self.known_until, *self.newest.values()) if self.newest else self.known_until
        return True

    def past(self, series: tuple[str, str]) -> Past | None:
        """What the next reading of ``series`` is compared with."""
        if series in self.remarkable:
            return self.remarkable[series]
        at, value = self.newest.get(series, _OLDEST), self.values.get(series)
        if at is _OLDEST or isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return Past(at, value, at, value, at)


class ReadingBatch:
    """One batch of readings and the present state of what they are of.

    First :meth:`add` decides what becomes of each reading, in their order; then the history rows are known. The rest
    of the work, :meth:`fold`, is done while the database inserts them. ``past`` is what history has of the moments
    of :func:`known_slots`.
    """

    def __init__(
        self,
        entities: dict[tuple[int, str], EntityState],
        term_ids: dict[str, int],
        past: dict[Slot, list[PastRow]],
        now: datetime,
    ) -> None:
        self._entities = entities
        self._term_ids = term_ids
        self._past = past
        self._now_text = to_text(now)
        self._current: list[tuple[EntityState, datetime, int, list[_Decided]]] = []
        self.numbers = NumberRows()
        self.others = InstanceRows()
        self.superseded: dict[RowKey, None] = {}
        self.events: list[tuple[int, bytes, int]] = []
        self.fates: Counter[str] = Counter()

    def add(self, observation: Observation) -> None:
        """Decide about one observation."""
        device, observed_at, values, missing, received_at = observation
        entity = self._entities[device.tenant_id, device.entity_id]
        term_ids = self._term_ids
        source_id = term_ids[device.key]
        maintained = bool(device.maintenance) and in_maintenance(device, observed_at) is not None
        current: list[_Decided] = []
        for mapping, value in values:
            attribute, dataset = series = mapping.attribute, mapping.dataset
            newest = entity.newest.get(series, _OLDEST)
            place = (entity.key, entity.tenant_id, term_ids[attribute], observed_at, term_ids[dataset], source_id)
            fate = "current" if observed_at > newest else "late" if observed_at < newest else "corrections"
            if mapping.kept is not None and not _is_wanted(mapping, value, fate, entity.values.get(series)):
                continue
            if mapping.kept == PRESENT_ONLY:
                entity.newest[series] = observed_at
                entity.values[series] = value
                current.append((mapping, value, None))
                continue
            if fate != "current" or observed_at <= entity.look_until:
                present = entity.values.get(series) if fate == "corrections" else None
                if self._is_repeat(place, value, present):
                    fate = "repeated"
            self.fates[fate] += 1
            if fate == "repeated":
                continue
            said = None
            checks = mapping.checks
            if checks is None:
                self._add_unjudged(place, mapping, value)
            elif (
                fate == "current"
                and type(value) is float
                and not maintained
                and series not in entity.remarkable
                and type(before := entity.values.get(series)) is float
                and newest is not _OLDEST
                and is_unremarkable(checks.quick, (newest, before), value, observed_at, received_at)
            ):
                self.numbers.add(place, value, mapping.unit_code, _GOOD)
                said = GOOD
            elif type(value) is float:
                if fate == "current":
                    past = entity.past(series)
                    verdict = judge(checks, past, value, observed_at, received_at, maintained)
                    if verdict.confirms and past is not None:
                        self._confirm(place, mapping, past)
                else:
                    verdict = judge_alone(checks, value, observed_at, received_at, maintained)
                if verdict.reasons:
                    self._add_remarkable(place, mapping, value, verdict)
                else:
                    self.numbers.add(place, value, mapping.unit_code, _MAINTAINED if maintained else _GOOD)
                if fate != "late":
                    entity.remarkable[series] = verdict.past
                    said = verdict.attributes
            else:
                flag = Flag.MAINTENANCE if maintained else Flag.GOOD
                said = quality_attributes(flag)
                self.others.add(place, self._instance(mapping, value, to_text(observed_at)), quality=flag)
            if fate != "late":
                entity.newest[series] = observed_at
                entity.values[series] = value
                current.append((mapping, value, said))
        if current:
            self._current.append((entity, observed_at, source_id, current))
        if missing:
            self._add_missing(entity, observed_at, source_id, missing)

    def _add_unjudged(self, place: Place, mapping: AttributeMapping, value: Any) -> None:
        """Add the row of history of a value of which nothing is said."""
        if type(value) is float:
            self.numbers.add(place, value, mapping.unit_code)
        else:
            self.others.add(place, self._instance(mapping, value, to_text(place[3])))

    def _add_remarkable(self, place: Place, mapping: AttributeMapping, value: float, verdict: Verdict) -> None:
        """Add the row of history of a value with the reasons of its quality."""
        instance = self._instance(mapping, value, to_text(place[3]))
        instance["attrs"] = verdict.said
        self.others.add(place, instance)

    def _confirm(self, place: Place, mapping: AttributeMapping, past: Past) -> None:
        """The reading before the one of ``place`` is not suspected of a jump any more: correct its row of history."""
        slot = (*place[:3], past.at, place[4])
        instance = self._instance(mapping, past.value, to_text(past.at))
        instance["attrs"] = quality_attributes(Flag.GOOD, (Reason.CONFIRMED,))
        if self.others.replace(slot, value_hash(past.value), instance):
            return
        for row in self._past.get(slot, ()):
            if row.believed and row.value == past.value:
                taken = {found.key for found in self._past[slot]}
                self.superseded[row.key] = None
                self.others.add(row.place, instance, taken=taken)

    def _add_missing(
        self,
        entity: EntityState,
        observed_at: datetime,
        source_id: int,
        missing: Iterable[tuple[AttributeMapping, Reason]],
    ) -> None:
        """Add moments of which the device said that it has no value, unless it told one as well."""
        ids = self._term_ids
        for mapping, reason in missing:
            attribute_id, dataset_id = ids[mapping.attribute], ids[mapping.dataset]
            place = (entity.key, entity.tenant_id, attribute_id, observed_at, dataset_id, source_id)
            told = [row for row in self._past.get(place[:5], ()) if row.place == place]
            if told or self.numbers.at(place) or self.others.at(place):
                self.fates["repeated"] += 1
                continue
            self.fates["missing"] += 1
            self.others.add_missing(place, quality_attributes(Flag.MISSING, (reason,)))

    def _is_repeat(self, place: Place, value: Any, present: Any) -> bool:
        """Whether the value was seen before for this moment of this source; else it corrects what was.

        ``present`` is the current value when that is of the same moment, whoever it came from.
        """
        if present is not None and present == value and type(present) is not bool:
            return True
        there = [row for row in self._past.get(place[:5], ()) if row.place == place]
        in_batch = self.numbers.at(place) + self.others.at(place)
        key = (*place, value_hash(value))
        if key in in_batch or any(row.key == key for row in there):
            return True
        self.superseded.update(dict.fromkeys([*(row.key for row in there if row.believed), *in_batch]))
        return False

    def fold(self) -> None:
        """Bring what was decided into the present state, and make the events of it."""
        for entity, observed_at, source_id, values in self._current:
            moment = observed_at if observed_at.tzinfo is UTC and not observed_at.microsecond else to_text(observed_at)
            changes = [self._make_current(entity, mapping, value, said, moment) for mapping, value, said in values]
            self.events.append((entity.key, b"[%b]" % b",".join(changes), source_id))
        self._current.clear()

    def _instance(self, mapping: AttributeMapping, value: Any, observed: datetime | str) -> Instance:
        """An instance of now; ``observed`` is text unless it is written by orjson, which is the faster."""
        instance: Instance = {
            "type": "Property",
            "value": value,
            "observedAt": observed,
            "createdAt": self._now_text,
            "modifiedAt": self._now_text,
        }
        if mapping.unit_code is not None:
            instance["unitCode"] = mapping.unit_code
        return instance

    def _make_current(
        self,
        entity: EntityState,
        mapping: AttributeMapping,
        value: Any,
        said: Attributes | None,
        observed: datetime | str,
    ) -> bytes:
        """Put a value in the place of the present one; the change as JSON. Each instance is written out once."""
        attribute, dataset = series = mapping.attribute, mapping.dataset
        slot = entity.attributes.setdefault(attribute, {})
        told, created_text = entity.told.get(series) or _told(slot.get(dataset), self._now_text)
        instance = self._instance(mapping, value, observed)
        instance["createdAt"] = created_text
        if said is not None and said is not GOOD:
            instance["attrs"] = said
        now_told = stored = orjson.dumps(instance, option=orjson.OPT_UTC_Z)
        if said is GOOD:
            stored, now_told = stored[:-1] + _GOOD_ATTRS, now_told[:-1] + GOOD_IN_EVENTS
        slot[dataset] = orjson.Fragment(stored)
        entity.told[series] = now_told, created_text
        entity.changed.add(attribute)
        return b'%b"before":%b,"after":%b}' % (_change_of(series), told, now_told)

    @property
    def has_unseen(self) -> bool:
        """Whether history may get rows that the present state of their entity does not tell of."""
        return bool(self.fates["late"] or self.fates["missing"])

    def keys(self) -> set[int]:
        """The entities that history gets rows of."""
        return {row[0] for row in (*self.numbers.rows, *self.others.rows)}

    def patches(self) -> tuple[list[int], list[bytes]]:
        """Keys of the changed entities, and for each the attributes to replace."""
        keys, patches = [], []
        for entity in self._entities.values():
            if entity.changed:
                keys.append(entity.key)
                patch = {name: entity.attributes[name] for name in entity.changed}
                patches.append(orjson.dumps(patch))
        return keys, patches


def _told(instance: Instance | None, now_text: str) -> tuple[bytes, str]:
    """An instance of the present state as events have it, and its createdAt."""
    if instance is None:
        return b"null", now_text
    created_text = instance.get("createdAt", now_text)
    if instance.get("attrs") != GOOD:
        return orjson.dumps(instance), created_text
    plain = {name: instance[name] for name in instance if name != "attrs"}
    return orjson.dumps(plain)[:-1] + GOOD_IN_EVENTS, created_text


@lru_cache(maxsize=4096)
def _change_of(series: tuple[str, str]) -> bytes:
    """The beginning of a change of an event."""
    return orjson.dumps({"attribute": series[0], "dataset": series[1]})[:-1] + b","


def _is_wanted(mapping: AttributeMapping, value: Any, fate: str, present: Any) -> bool:
    """Whether a value of which not all are kept is written: a newer one, and one that differs if that counts."""
    return fate == "current" and (mapping.kept == PRESENT_ONLY or value != present)


def known_slots(
    observations: Iterable[Observation], entities: dict[tuple[int, str], EntityState], term_ids: dict[str, int]
) -> set[Slot]:
    """The moments of which history may have something: those that are not newer than all that is known; and those of
    values suspected of a jump, which a newer one may confirm."""
    slots: set[Slot] = set()
    for device, observed_at, values, missing, _ in observations:
        entity = entities[device.tenant_id, device.entity_id]
        for (attribute, dataset), held_at in entity.held.items():
            if dataset in term_ids:  # else nothing of this batch is of it
                slots.add((entity.key, entity.tenant_id, term_ids[attribute], held_at, term_ids[dataset]))
        if observed_at > entity.known_until:
            continue
        for mapping, _ in (*values, *missing):
            newest = entity.newest.get((mapping.attribute, mapping.dataset), _OLDEST)
            if observed_at <= newest or observed_at <= entity.look_until:
                attribute_id, dataset_id = term_ids[mapping.attribute], term_ids[mapping.dataset]
                slots.add((entity.key, entity.tenant_id, attribute_id, observed_at, dataset_id))
    return slots
