# SPDX-License-Identifier: Apache-2.0
"""Devices: which sensor feeds which attributes of which entity, in what unit and range, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from broker.devices.maintenance import MaintenanceWindow
from broker.devices.profile import NO_PROFILE, DeviceProfile
from broker.devices.state import DEVICE_TYPE, OWNER, STATE_ATTRIBUTES
from broker.entities import Attributes, ExpandedEntity, Instance
from broker.intake.formats import DEFAULT_PROFILE, FormatProfile
from broker.quality.parameters import Checks, checks_for
from broker.same import Same
from broker.times import to_text
from broker.units import conversion
from schemas.terms import LOCATION, NO_DATASET

NAME: Final = "https://smartdatamodels.org/name"  # of every Smart Data Model

VALUE: Final = "value"
DISTANCE_DOWN: Final = "distanceDown"
ELEVATION: Final = "elevation"
MEASURES: Final = (VALUE, DISTANCE_DOWN, ELEVATION)
# What is kept of the values of an attribute: by default each in history.
ON_CHANGE: Final = "on change"  # only those that differ from the present one
PRESENT_ONLY: Final = "present only"  # none in history


@dataclass(frozen=True, slots=True)
class AttributeMapping:
    """One quantity of a device's messages.

    ``field`` is its name in the message; ``attribute`` the expanded name of the Property it feeds. What is sent is in
    ``unit`` (by default that of the stored value) and becomes ``value * factor + offset`` in ``unit_code`` (UN/CEFACT,
    ``MTR`` for metres). What it ``measures`` is the value itself; or a distance downwards, stored as ``reference``
    less the distance (reference: height of the sensor above gauge zero); or an elevation such as T.P., stored as the
    elevation less ``reference`` (the gauge zero in that datum). ``minimum`` and ``maximum`` bound the stored value,
    both inclusive. ``sentinels`` are sent values that mean "no value"; ``words`` are what sent texts stand for.
    ``earlier`` are (until, reference), oldest first: what ``reference`` was before the sensor was moved or surveyed.
    ``kept`` is for attributes of devices themselves: :data:`ON_CHANGE` or :data:`PRESENT_ONLY`.
    """

    field: str
    attribute: str
    unit_code: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    factor: float = 1.0
    offset: float = 0.0
    dataset: str = NO_DATASET
    unit: str | None = None
    measures: str = VALUE
    reference: float | None = None
    sentinels: tuple[float | str, ...] = ()
    words: tuple[tuple[str, float | str | bool], ...] = ()
    checks: Checks | None = dataclass_field(default=None, repr=False, compare=False)
    """The tests of its values; set by the device, which knows its profile. None: nothing is said of their quality."""
    kept: str | None = None
    earlier: tuple[tuple[datetime, float], ...] = ()
    scale: float = dataclass_field(init=False, repr=False, compare=False)
    shift: float = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scale, shift = self.linear(self.unit) or (self.factor, self.offset)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "shift", shift)

    def at(self, moment: datetime) -> AttributeMapping:
        """The mapping as it was when something was measured at ``moment``."""
        for until, reference in self.earlier:
            if moment < until:
                return replace(self, reference=reference, earlier=())
        return self

    def linear(self, unit: str | None) -> tuple[float, float] | None:
        """Scale and shift with ``stored = sent * scale + shift`` for values in ``unit``; None: not convertible."""
        scale, shift = self.factor, self.offset
        if unit is not None and self.unit_code is not None and unit != self.unit_code:
            converted = conversion(unit, self.unit_code)
            if converted is None:
                return None
            scale, shift = converted[0] * scale, converted[1] * scale + shift
        if self.measures == DISTANCE_DOWN:
            return -scale, (self.reference or 0.0) - shift
        if self.measures == ELEVATION:
            return scale, shift - (self.reference or 0.0)
        return scale, shift

    @property
    def is_number(self) -> bool:
        """Whether the mapping declares a number."""
        return self.minimum is not None or self.maximum is not None or self.scale != 1.0

    def document(self) -> dict[str, Any]:
        """The JSON form, without members that have their default."""
        members = {
            "field": self.field,
            "attribute": self.attribute,
            "unitCode": self.unit_code,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "factor": None if self.factor == 1.0 else self.factor,
            "offset": None if self.offset == 0.0 else self.offset,
            "datasetId": None if self.dataset == NO_DATASET else self.dataset,
            "unit": self.unit,
            "measures": None if self.measures == VALUE else self.measures,
            "reference": self.reference,
            "earlierReferences": [{"until": to_text(until), "reference": height} for until, height in self.earlier]
            or None,
            "sentinels": list(self.sentinels) or None,
            "words": dict(self.words) or None,
        }
        return {name: value for name, value in members.items() if value is not None}


@lru_cache(maxsize=4096)
def _ready(
    same: Same[tuple[AttributeMapping, ...]], checks: tuple[Checks, ...] | None
) -> tuple[tuple[AttributeMapping, ...], Mapping[str, tuple[AttributeMapping, ...]]]:
    """Mappings with their tests, also by field; devices that have the same share them."""
    attributes = same.value
    if checks is not None:
        attributes = tuple(replace(mapping, checks=found) for mapping, found in zip(attributes, checks, strict=True))
    by_field: dict[str, tuple[AttributeMapping, ...]] = {}
    for mapping in attributes:
        by_field[mapping.field] = (*by_field.get(mapping.field, ()), mapping)
    return attributes, by_field


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """A registered device.

    ``device_id`` is unique within its tenant, ``key`` in the whole hub: it is the device's MQTT user name and its
    place in the topic. ``location`` is (longitude, latitude) in WGS 84 degrees. ``static_attributes`` are given to the
    entity when it is made. ``format`` says how its messages are to be read, ``profile`` what is expected of it; one
    that has state to tell feeds :func:`state_device` besides. ``maintenance`` are its windows, past and to come
    (:func:`~broker.devices.maintenance.in_maintenance`). What it measures ``is_judged`` (:mod:`broker.quality`). It
    serves its
    station from ``service_from`` (inclusive) until ``service_until`` (exclusive); what it measured before or after is
    not the station's.
    """

    tenant_id: int
    device_id: str
    key: str
    name: str
    entity_id: str
    entity_types: tuple[str, ...]
    attributes: tuple[AttributeMapping, ...]
    location: tuple[float, float] | None = None
    static_attributes: Attributes = dataclass_field(default_factory=dict)
    password_hash: str | None = None
    format: FormatProfile = DEFAULT_PROFILE
    profile: DeviceProfile = NO_PROFILE
    maintenance: tuple[MaintenanceWindow, ...] = ()
    service_from: datetime | None = None
    service_until: datetime | None = None
    is_judged: bool = True
    by_field: Mapping[str, tuple[AttributeMapping, ...]] = dataclass_field(init=False, repr=False)

    def __post_init__(self) -> None:
        checks = tuple(self._checks()) if self.is_judged else None
        attributes, by_field = _ready(Same(self.attributes), checks)
        object.__setattr__(self, "attributes", attributes)
        object.__setattr__(self, "by_field", by_field)

    def _checks(self) -> Iterator[Checks]:
        profile, first = self.profile, self.attributes[0].field if self.attributes else ""
        for mapping in self.attributes:
            said = profile.quality.get(mapping.field)
            gap = profile.usual_gap(mapping.field, first)
            yield checks_for(mapping.attribute, mapping.unit_code, said, gap)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The names by which messages may call it: its key, and its address in a network of its own."""
        return (self.key,) if self.format.address is None else (self.key, self.format.address)

    @property
    def expected_interval_s(self) -> float | None:
        """Seconds between readings in the normal mode; None when it is not known."""
        interval = self.profile.expected_interval
        return None if interval is None else interval.normal

    def in_service(self, moment: datetime) -> bool:
        """Whether what it measured at ``moment`` is its station's."""
        if self.service_from is not None and moment < self.service_from:
            return False
        return self.service_until is None or moment < self.service_until

    def with_password_hash(self, password_hash: str) -> Device:
        """The same device with a new MQTT password (its hash)."""
        return replace(self, password_hash=password_hash)


@lru_cache(maxsize=10_000)
def state_device(device: Device) -> Device:
    """``device`` as the thing itself: what feeds its entity of type Device with battery, radio and counters."""
    owner = {NO_DATASET: {"type": "Relationship", "object": device.entity_id}}
    return Device(
        tenant_id=device.tenant_id,
        device_id=device.device_id,
        key=device.key,
        name=device.name,
        entity_id=f"urn:ngsi-ld:Device:{device.key}",
        entity_types=(DEVICE_TYPE,),
        attributes=_STATE_MAPPINGS,
        location=device.location,
        static_attributes={OWNER: owner},
        is_judged=False,
    )


_STATE_MAPPINGS: Final = tuple(
    AttributeMapping(name, attribute, unit_code) for name, (attribute, unit_code) in STATE_ATTRIBUTES.items()
)


def device_entity(device: Device, now: datetime) -> ExpandedEntity:
    """The entity of ``device`` before its first reading: name, location and the device's static attributes."""
    moment = to_text(now)
    attributes: Attributes = {
        name: {dataset: {**instance, "createdAt": moment, "modifiedAt": moment} for dataset, instance in group.items()}
        for name, group in device.static_attributes.items()
    }
    attributes.setdefault(NAME, {NO_DATASET: _property(device.name, moment)})
    if device.location is not None:
        point = {"type": "Point", "coordinates": list(device.location)}
        location = {"type": "GeoProperty", "value": point, "createdAt": moment, "modifiedAt": moment}
        attributes.setdefault(LOCATION, {NO_DATASET: location})
    return ExpandedEntity(device.entity_id, device.entity_types, attributes, created_at=now, modified_at=now)


def _property(value: Any, moment: str) -> Instance:
    return {"type": "Property", "value": value, "createdAt": moment, "modifiedAt": moment}
