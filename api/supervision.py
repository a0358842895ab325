# SPDX-License-Identifier: Apache-2.0
"""Supervision of devices: who is late, silent or dead, which gateways are silent, and what is written of it.

The worker writes what has changed; the API works out the same for whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from broker.device_state import DEVICE_STATE, DEVICE_TYPE, DeviceState
from broker.devices import NAME, Device, device_entity, state_device
from broker.entities import Attributes, ExpandedEntity, Instance
from broker.silence import (
    FLOODED_UNKNOWN,
    RECEPTION,
    GroupSilence,
    Verdict,
    Watched,
    heard,
    supervise,
)
from broker.stations import DEFAULT_INTERVAL_S
from broker.times import to_text
from context_store.supervision import Heard, StateChange, SupervisionStore
from schemas.terms import DEFAULT_VOCABULARY, NO_DATASET

CAUSE: Final = DEFAULT_VOCABULARY + "cause"
MEMBERS: Final = DEFAULT_VOCABULARY + "silentDevices"
_CATEGORY: Final = "https://smartdatamodels.org/dataModel.Device/deviceCategory"
_AT_ONCE: Final = 2000  # devices in one question
_ORDER: Final = list(DeviceState)


@dataclass(slots=True)
class Findings:
    """How the devices of a tenant are; ``heard`` has those that were ever heard, ``groups`` the silent ones."""

    devices: dict[str, Device] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    groups: dict[str, GroupSilence] = field(default_factory=dict)
    known_groups: set[str] = field(default_factory=set)

    def counts(self) -> dict[DeviceState, int]:
        """How many devices are in each state."""
        states = [verdict.state for verdict in self.verdicts.values()]
        return {state: states.count(state) for state in DeviceState}


async def look(
    store: SupervisionStore, tenant_id: int, devices: Sequence[Device], now: datetime, *, stale_factor: float
) -> Findings:
    """How ``devices`` of one tenant are ``now``. Those that were never heard are not judged."""
    found = Findings()
    for begin in range(0, len(devices), _AT_ONCE):
        found.heard |= await store.heard(tenant_id, devices[begin : begin + _AT_ONCE])
    watched = []
    for device in devices:
        known = found.heard.get(device.key)
        if known is not None and known.last_seen is not None and not _is_retired(device, now):
            found.devices[device.key] = device
            watched.append(_watched(device, known, known.last_seen, now, stale_factor))
    found.verdicts, found.groups = supervise(watched, now)
    found.known_groups = {item.group for item in watched if item.group}
    return found


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
    for key, verdict in found.verdicts.items():
        if verdict.state is DeviceState.OK and found.heard[key].told in (None, DeviceState.OK):
            continue
        owner = state_device(found.devices[key])
        instance = _state(verdict.state, verdict.since)
        if verdict.group is not None:
            cause = {"type": "Relationship", "object": group_entity_id(verdict.group)}
            instance["attrs"] = {CAUSE: {NO_DATASET: cause}}
        yield StateChange(owner.entity_id, DEVICE_STATE, instance, device_entity(owner, now))


def _station_changes(found: Findings) -> Iterable[StateChange]:
    """A station hears its best device."""
    best: dict[str, str] = {}
    for key, verdict in found.verdicts.items():
        station = found.devices[key].entity_id
        if station not in best or _ORDER.index(verdict.state) < _ORDER.index(found.verdicts[best[station]].state):
            best[station] = key
    for station, key in best.items():
        verdict = found.verdicts[key]
        word = FLOODED_UNKNOWN if verdict.is_flood_sign else verdict.state.value
        if word != DeviceState.OK or found.heard[key].reception not in (None, DeviceState.OK):
            yield StateChange(station, RECEPTION, _state(word, verdict.since))


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
