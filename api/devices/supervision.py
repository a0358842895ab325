# SPDX-License-Identifier: Apache-2.0
"""Supervision of devices: who is late, silent or dead, which gateways are silent, and what is written of it.

The worker writes what has changed; the API works out the same for whoever asks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final
from urllib.parse import quote

from broker.devices.model import NAME, Device, device_entity, state_device
from broker.devices.silence import (
    FLOODED_UNKNOWN,
    RECEPTION,
    GroupSilence,
    Verdict,
    Watched,
    heard,
    supervise,
)
from broker.devices.state import DEVICE_STATE, DEVICE_TYPE, DeviceState
from broker.entities import Attributes, ExpandedEntity, Instance
from broker.stations import DEFAULT_INTERVAL_S
from broker.times import to_text
from context_store.devices.supervision import Heard, StateChange, SupervisionStore
from schemas.terms import DEFAULT_VOCABULARY, NO_DATASET

CAUSE: Final = DEFAULT_VOCABULARY + "cause"
MEMBERS: Final = DEFAULT_VOCABULARY + "silentDevices"
_CATEGORY: Final = "https://smartdatamodels.org/dataModel.Device/deviceCategory"
_AT_ONCE: Final = 1000  # devices in one question
_ORDER: Final = list(DeviceState)


@dataclass(slots=True)
class Findings:
    """How the devices of a tenant are, all that were ever heard. ``heard`` is what was read now, of those whose state
    may have changed; ``groups`` are the silent ones."""

    devices: dict[str, Device] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    groups: dict[str, GroupSilence] = field(default_factory=dict)
    known_groups: set[str] = field(default_factory=set)

    def counts(self) -> dict[DeviceState, int]:
        """How many devices are in each state."""
        counted = Counter(verdict.state for verdict in self.verdicts.values())
        return {state: counted[state] for state in DeviceState}


class Memory:
    """Which devices were well at the last look, and until when they are at least.

    A device that was heard at a time cannot be late before its patience is over; whoever is not in here, or has another
    registration since, is looked at. Losing it costs one look at everybody.
    """

    def __init__(self) -> None:
        self._well: dict[str, tuple[Device, Watched, datetime]] = {}

    def well(self, device: Device, now: datetime) -> Watched | None:
        """The device as it was seen, while it has to be well."""
        found = self._well.get(device.key)
        return found[1] if found is not None and found[0] is device and now <= found[2] else None

    def keep(self, device: Device, watched: Watched, now: datetime) -> None:
        """Remember a device that was looked at."""
        if watched.grade(now) is DeviceState.OK:
            interval = device.profile.expected_interval
            shortest = min(watched.interval_s, interval.active or inf) if interval else watched.interval_s
            until = watched.heard_at + timedelta(seconds=watched.limits.late * shortest)
            self._well[device.key] = (device, watched, until)
        else:
            self._well.pop(device.key, None)


async def look(
    store: SupervisionStore,
    tenant_id: int,
    devices: Sequence[Device],
    now: datetime,
    *,
    stale_factor: float,
    memory: Memory | None = None,
) -> Findings:
    """How ``devices`` of one tenant are ``now``. Those that were never heard are not judged.

    With ``memory``, only those are read that may have fallen silent; and all of a group that may have.
    """
    found = Findings()
    memory = memory or Memory()
    in_service = [device for device in devices if not _is_retired(device, now)]
    watched = {device.key: well for device in in_service if (well := memory.well(device, now)) is not None}
    due = [device for device in in_service if device.key not in watched]
    fresh = await _read(store, tenant_id, due, found, now, stale_factor)
    doubtful = {item.group for item in fresh.values() if item.group and item.grade(now) is not DeviceState.OK}
    rest = [device for device in in_service if device.key in watched and watched[device.key].group in doubtful]
    fresh |= await _read(store, tenant_id, rest, found, now, stale_factor)
    watched |= fresh
    found.devices = {device.key: device for device in in_service if device.key in watched}
    for key, item in fresh.items():
        memory.keep(found.devices[key], item, now)
    found.verdicts, found.groups = await asyncio.to_thread(supervise, list(watched.values()), now)
    found.known_groups = {item.group for item in fresh.values() if item.group}
    return found


async def _read(
    store: SupervisionStore,
    tenant_id: int,
    devices: Sequence[Device],
    found: Findings,
    now: datetime,
    stale_factor: float,
) -> dict[str, Watched]:
    """Those of ``devices`` that were ever heard, as they are now; what was read goes into ``found``."""
    watched = {}
    for begin in range(0, len(devices), _AT_ONCE):
        part = devices[begin : begin + _AT_ONCE]
        read = await store.heard(tenant_id, part)
        for device in part:
            known = read.get(device.key)
            if known is not None and known.last_seen is not None:
                found.heard[device.key] = known
                watched[device.key] = _watched(device, known, known.last_seen, now, stale_factor)
    return watched


def _is_retired(device: Device, now: datetime) -> bool:
    return device.service_until is not None and device.service_until <= now


def _watched(device: Device, known: Heard, last_seen: datetime, now: datetime, stale_factor: float) -> Watched:
    rules = device.profile.silence
    windows = [(window.start, window.end) for window in device.maintenance]
    return Watched(
        device.key,
        heard(last_seen, windows, now),
        expected_interval_s(device, known.values),
        rules.limits(stale_factor),
        rules.group or known.gateway,
        rules.means,
    )


def expected_interval_s(device: Device, values: Sequence[Any]) -> float:
    """How often a reading should come now; ``values`` are the newest of the mappings, in their order."""
    interval = device.profile.expected_interval
    if interval is None:
        return DEFAULT_INTERVAL_S
    fields = [mapping.field for mapping in device.attributes]
    place = fields.index(interval.field) if interval.field in fields else 0
    value = values[place] if place < len(values) else None
    return interval.at(value if isinstance(value, int | float) and not isinstance(value, bool) else None)


def changes(found: Findings, now: datetime) -> list[StateChange]:
    """What has to be written: states of devices, reception of their stations, and silent groups."""
    return [*_device_changes(found, now), *_station_changes(found), *_group_changes(found, now)]


def _device_changes(found: Findings, now: datetime) -> Iterable[StateChange]:
    for key, known in found.heard.items():
        verdict = found.verdicts[key]
        if verdict.state is DeviceState.OK and known.told in (None, DeviceState.OK):
            continue
        owner = state_device(found.devices[key])
        instance = _state(verdict.state, verdict.since)
        if verdict.group is not None:
            cause = {"type": "Relationship", "object": group_entity_id(verdict.group)}
            instance["attrs"] = {CAUSE: {NO_DATASET: cause}}
        yield StateChange(owner.entity_id, DEVICE_STATE, instance, device_entity(owner, now))


def _station_changes(found: Findings) -> Iterable[StateChange]:
    """A station hears its best device."""
    told = {found.devices[key].entity_id: known.reception for key, known in found.heard.items()}
    best: dict[str, Verdict] = {}
    for key, verdict in found.verdicts.items():
        station = found.devices[key].entity_id
        if station in told and (station not in best or _is_better(verdict, best[station])):
            best[station] = verdict
    for station, verdict in best.items():
        word = FLOODED_UNKNOWN if verdict.is_flood_sign else verdict.state.value
        if word != DeviceState.OK or told[station] not in (None, DeviceState.OK):
            yield StateChange(station, RECEPTION, _state(word, verdict.since))


def _is_better(one: Verdict, other: Verdict) -> bool:
    return _ORDER.index(one.state) < _ORDER.index(other.state)


def _group_changes(found: Findings, now: datetime) -> Iterable[StateChange]:
    for group in sorted(found.known_groups):
        silence = found.groups.get(group)
        if silence is None:
            yield StateChange(group_entity_id(group), DEVICE_STATE, _state(DeviceState.OK, None))
            continue
        instance = _state(DeviceState.SILENT, silence.since)
        count = {"type": "Property", "value": len(silence.members)}
        instance["attrs"] = {MEMBERS: {NO_DATASET: count}}
        yield StateChange(group_entity_id(group), DEVICE_STATE, instance, _group_entity(group, now))


def _state(word: str, since: datetime | None) -> Instance:
    instance: Instance = {"type": "Property", "value": str(word)}
    return instance if since is None else {**instance, "observedAt": to_text(since)}


def group_entity_id(group: str) -> str:
    """The id of the entity of a gateway or another group."""
    return f"urn:ngsi-ld:Device:gateway:{quote(group, safe='')}"


def _group_entity(group: str, now: datetime) -> ExpandedEntity:
    attributes: Attributes = {
        NAME: {NO_DATASET: {"type": "Property", "value": group}},
        _CATEGORY: {NO_DATASET: {"type": "Property", "value": ["gateway"]}},
    }
    return ExpandedEntity(group_entity_id(group), (DEVICE_TYPE,), attributes, created_at=now, modified_at=now)
