# SPDX-License-Identifier: Apache-2.0
"""From topic and bytes to observations: pure, the same message gives the same answer.

What is wrong with a message is told by the first fault found; the parts of it that are right are kept all the same,
because a replay of the whole message later does no harm (a reading is stored once however often it comes).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from broker.devices.model import AttributeMapping, Device, state_device
from broker.devices.state import STATE_ATTRIBUTES, STATE_QUANTITIES
from broker.intake.formats import DEFAULT_PROFILE, MINAMO_JSON, FormatProfile, Frame, is_sentinel
from broker.intake.readings import (
    FormatDecoder,
    Measurement,
    Observation,
    PayloadCodec,
    Quarantined,
    Reason,
    UndecodablePayload,
)
from broker.quality.flags import Reason as QualityReason
from broker.same import Same
from broker.times import to_text, to_text_or_none
from broker.units import conversion
from ingest.topics import FIWARE, Route, route_of

_STATE_NAMES: Final = frozenset(STATE_ATTRIBUTES)
_TOLD: Final = 20  # names that an error lists
_PLAIN: Final = (int, float, str)  # a union of types would be made anew for each message
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


class Message(NamedTuple):
    """One MQTT message as it came; ``generation`` numbers the connection it came by."""

    topic: str
    payload: bytes
    received_at: datetime
    mid: int = 0
    qos: int = 0
    generation: int = 0
    properties: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may be at most: payload in bytes, how far ahead or behind of now it may be measured."""

    payload_bytes: int = 65_536
    future: timedelta = timedelta(minutes=5)
    age: timedelta = timedelta(days=3660)


# Whether to write what a message says of its device: the device, its state by names of STATE_ATTRIBUTES, when that was
# measured, when the message came.
WantsState = Callable[[Device, Mapping[str, Any], datetime, datetime], bool]


class _Fault(Exception):
    """Why a message cannot be taken as it is."""

    def __init__(self, reason: Reason, detail: str, readable: Sequence[Measurement] = ()) -> None:
        self.reason = reason
        self.detail = detail
        self.readable = readable  # what is right in a payload that as a whole is not
        super().__init__(detail)


class Explanation(NamedTuple):
    """What a message would become: its measurements before the mapping, the observations, which fields have no value
    and why, and what is wrong."""

    measurements: Sequence[Measurement]
    observations: list[Observation]
    missing: list[tuple[str, str]]
    fault: Quarantined | None


class Decoder:
    """Understands messages with the mapping of the device and its format.

    ``codec`` is the hub's own format, on a short way of its own; ``formats`` are all others.
    """

    def __init__(self, codec: PayloadCodec, limits: Limits, formats: FormatDecoder | None = None) -> None:
        self._codec = codec
        self._limits = limits
        self._formats = formats

    def decode(
        self,
        message: Message,
        find_device: Callable[[str], Device | None],
        wants_state: WantsState | None = None,
    ) -> tuple[list[Observation], Quarantined | None]:
        """The observations in ``message``, and the message itself as quarantined when something in it is wrong.

        What it says of the device itself is among them only if ``wants_state`` says so.
        """
        route = route_of(message.topic)
        device = find_by(route, find_device) if route else None
        observations: list[Observation] = []
        try:
            route = self._taken_route(message, route)
            if device is None:
                raise _Fault(Reason.UNKNOWN_DEVICE, _not_registered(route, find_device))
            # What a device says of commands is no reading, and nobody has to mend anything.
            if not route.is_command:
                self._decode(message, route, device, observations, wants_state)
        except _Fault as fault:
            return observations, _quarantined(message, _key(route, device), device, fault)
        return observations, None

    def _taken_route(self, message: Message, route: Route | None) -> Route:
        """The route of a message that is looked at."""
        if route is None:
            detail = f"the topic {message.topic} is not minamo/v1/<device key>/readings or one of the other known ones"
            raise _Fault(Reason.UNKNOWN_TOPIC, detail)
        if len(message.payload) > self._limits.payload_bytes:
            detail = f"the payload has {len(message.payload)} bytes; at most {self._limits.payload_bytes} are taken"
            raise _Fault(Reason.TOO_LARGE, detail)
        return route

    def _decode(
        self,
        message: Message,
        route: Route,
        device: Device,
        observations: list[Observation],
        wants_state: WantsState | None,
    ) -> None:
        found, fault = self._readable(message, route, device)
        for measurement in found:
            try:
                self._observe(message, device, measurement, observations, wants_state)
            except _Fault as exc:
                fault = fault or exc
        if fault is not None:
            raise fault

    def _readable(self, message: Message, route: Route, device: Device) -> tuple[Sequence[Measurement], _Fault | None]:
        """What can be read of the payload, and what is wrong with the rest."""
        try:
            return self.measurements(message, route, device), None
        except _Fault as fault:
            return fault.readable, fault

    def measurements(self, message: Message, route: Route, device: Device) -> list[Measurement]:
        """What the payload says, before the mapping; the fault is that the payload cannot be read."""
        try:
            if device.format is DEFAULT_PROFILE and route.format is None:
                return self._codec(message.payload)
            if self._formats is None:
                raise UndecodablePayload(f"the format {device.format.name} is not at hand")
            frame = Frame(message.topic, message.payload, message.received_at, route.attribute)
            return self._formats(frame, _profile(device.format, route, message.payload))
        except UndecodablePayload as exc:
            raise _Fault(Reason.UNDECODABLE, str(exc), exc.readable) from exc

    def explain(self, message: Message, device: Device) -> Explanation:
        """What ``message`` would become, were it of ``device``; nothing is changed by it."""
        observations, fault = self.decode(message, lambda _: device)
        route = route_of(message.topic)
        found = self._readable(message, route, device)[0] if route and not route.is_command else []
        return Explanation(found, observations, list(_missing(found, device)), fault)

    def _observe(
        self,
        message: Message,
        device: Device,
        measurement: Measurement,
        observations: list[Observation],
        wants_state: WantsState | None,
    ) -> None:
        observed_at, quantities, state, units = measurement
        self._check_time(observed_at, message.received_at, device)
        values: list[tuple[AttributeMapping, float | str | bool]] = []
        missing: list[tuple[AttributeMapping, QualityReason]] = []
        fault: _Fault | None = None
        by_field = device.by_field
        for name, raw in quantities.items():
            mappings = by_field.get(name)
            if mappings is None:
                continue
            for mapping in mappings:
                if mapping.earlier:
                    mapping = mapping.at(observed_at)
                try:
                    if units and name in units:
                        raw = _in_own_unit(mapping, raw, units[name])
                    value = _stored_value(mapping, raw, device.format.sentinels)
                except _Fault as exc:
                    fault = fault or exc
                    continue
                if value is not None:
                    values.append((mapping, value))
                else:
                    missing.append((mapping, QualityReason.NULL if raw is None else QualityReason.SENTINEL))
        if values or missing:
            found = Observation(device, observed_at, tuple(values), tuple(missing), message.received_at)
            observations.append(found)
        if not state and not _STATE_NAMES.isdisjoint(quantities):
            state = _state_among(quantities, by_field)
        if state and (wants_state is None or wants_state(device, state, observed_at, message.received_at)):
            observations.append(_state_observation(device, observed_at, state))
        if fault is not None:
            raise fault
        if not values and not any(name in by_field for name in quantities):
            if state and all(name in STATE_QUANTITIES or name in state for name in quantities):
                return
            raise _Fault(Reason.NO_MAPPED_QUANTITY, _not_mapped(quantities, by_field))

    def _check_time(self, observed_at: datetime, received_at: datetime, device: Device) -> None:
        if observed_at - received_at > self._limits.future:
            ahead = round((observed_at - received_at).total_seconds())
            raise _Fault(Reason.IN_THE_FUTURE, f"measured {ahead} s after its arrival; is the device's clock right?")
        if received_at - observed_at > self._limits.age:
            raise _Fault(Reason.TOO_OLD, f"measured at {observed_at.isoformat()}, before the oldest time accepted")
        if not device.in_service(observed_at):
            raise _Fault(Reason.NOT_IN_SERVICE, _out_of_service(device, observed_at))


def _not_mapped(quantities: Mapping[str, Any], mapped: Mapping[str, Any]) -> str:
    there = ", ".join(list(quantities)[:_TOLD]) or "nothing"
    more = f" and {len(quantities) - _TOLD} more" if len(quantities) > _TOLD else ""
    return f"the message has {there}{more}; mapped are {', '.join(sorted(mapped))}"


def _not_registered(route: Route, find_device: Callable[[str], Device | None]) -> str:
    found = find_device(route.addresses[-1]) if len(route.addresses) > 1 else None
    if found is None:
        return f"no device with the key {route.addresses[-1]} is registered"
    return f"the device {found.key} is registered with another address than {route.addresses[0]}"


def _out_of_service(device: Device, observed_at: datetime) -> str:
    since, until = (to_text_or_none(time) for time in (device.service_from, device.service_until))
    span = " ".join(filter(None, (since and f"from {since}", until and f"until {until}")))
    return f"measured at {to_text(observed_at)}; the device serves its station {span}"


def _missing(measurements: Sequence[Measurement], device: Device) -> Iterator[tuple[str, str]]:
    for measurement in measurements:
        for mapping in device.attributes:
            if mapping.field not in measurement.values:
                yield mapping.field, "the message does not have it"
            elif reason := why_missing(mapping, measurement.values[mapping.field], device.format.sentinels):
                yield mapping.field, reason


def find_by(route: Route, find_device: Callable[[str], Device | None]) -> Device | None:
    """The device a topic is of. One that has an address with its API key is not found without that key."""
    device = find_device(route.addresses[0])
    if device is None and len(route.addresses) > 1:
        device = find_device(route.addresses[1])
        if device is not None and device.format.address is not None:
            return None
    return device


def _key(route: Route | None, device: Device | None) -> str | None:
    if device is not None:
        return device.key
    return route.addresses[-1] if route else None


def _profile(profile: FormatProfile, route: Route, payload: bytes) -> FormatProfile:
    """The profile with the format the topic implies, where the profile itself names none."""
    if route.format is None or profile.name != MINAMO_JSON:
        return profile
    name = route.format
    if name == FIWARE:
        name = "iot-agent-json" if payload.lstrip()[:1] in (b"{", b"[") else "ultralight"
    return _named(Same(profile), name)


@lru_cache(maxsize=4096)
def _named(profile: Same[FormatProfile], name: str) -> FormatProfile:
    """The profile with this format; the devices of a process share profiles, and copying one takes longest of all."""
    return replace(profile.value, name=name)


def _state_among(quantities: Mapping[str, Any], mapped: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says of the device itself by the names that the hub has for it, where the device maps them not."""
    return {
        name: value
        for name, value in quantities.items()
        if name in _STATE_NAMES and name not in mapped and isinstance(value, _PLAIN)
    }


def _state_observation(device: Device, observed_at: datetime, state: Mapping[str, Any]) -> Observation:
    """What the message says of the device itself; a value of another type than expected is left out."""
    owner = state_device(device)
    known = owner.by_field
    values: list[tuple[AttributeMapping, float | str | bool]] = []
    for name, value in state.items():
        for mapping in known.get(name, ()):
            if isinstance(value, str | bool):
                values.append((mapping, value))
            elif value is not None and isfinite(value):
                values.append((mapping, float(value)))
    return Observation(owner, observed_at, tuple(values))


def _in_own_unit(mapping: AttributeMapping, raw: Any, unit: str) -> Any:
    """``raw``, which the message gives in ``unit``, in the unit the mapping expects."""
    expected = mapping.unit or mapping.unit_code
    if expected is None or expected == unit or isinstance(raw, bool) or not isinstance(raw, int | float):
        return raw
    converted = conversion(unit, expected)
    if converted is None:
        detail = f"{mapping.field} is in {unit}, which cannot be turned into {expected}"
        raise _Fault(Reason.WRONG_UNIT, detail)
    return raw * converted[0] + converted[1]


def _stored_value(
    mapping: AttributeMapping, raw: Any, sentinels: tuple[float | str, ...] = ()
) -> float | str | bool | None:
    """``raw`` in the stored unit, checked against the declared range; None stays "no value", as do sentinels."""
    if raw is None:
        return None
    if (mapping.sentinels or sentinels) and why_missing(mapping, raw, sentinels) is not None:
        return None
    if mapping.words:
        raw = next((meaning for word, meaning in mapping.words if word == str(raw)), raw)
    if type(raw) is not float:  # nearly all are
        if isinstance(raw, bool | str) and not mapping.is_number:
            return raw
        raw = _number(mapping, raw)
    value: float = raw * mapping.scale + mapping.shift
    if not isfinite(value):
        raise _Fault(Reason.OUT_OF_RANGE, f"{mapping.field} is {raw!r}, too large for the factor {mapping.factor}")
    if mapping.minimum is not None and value < mapping.minimum:
        raise _Fault(Reason.OUT_OF_RANGE, f"{mapping.field} is {value!r}, below the declared minimum {mapping.minimum}")
    if mapping.maximum is not None and value > mapping.maximum:
        raise _Fault(Reason.OUT_OF_RANGE, f"{mapping.field} is {value!r}, above the declared maximum {mapping.maximum}")
    return value


def _number(mapping: AttributeMapping, raw: Any) -> float:
    """``raw``, where a number is declared, as one."""
    if isinstance(raw, bool) or (isinstance(raw, str) and not _NUMBER.fullmatch(raw)):
        raise _Fault(Reason.WRONG_TYPE, f"{mapping.field} is {raw!r}; the device declares a number")
    if not isinstance(raw, int | float | str):
        raise _Fault(Reason.WRONG_TYPE, f"{mapping.field} is of type {type(raw).__name__}; it has to be a plain value")
    return float(raw) if isinstance(raw, str) else raw


def why_missing(mapping: AttributeMapping, raw: Any, sentinels: tuple[float | str, ...] = ()) -> str | None:
    """Why ``raw`` is no value; None when it is one."""
    if raw is None:
        return "null was sent"
    if is_sentinel(raw, mapping.sentinels) or is_sentinel(raw, sentinels):
        return f"{raw!r} is declared to mean that there is no value"
    return None


def _quarantined(message: Message, key: str | None, device: Device | None, fault: _Fault) -> Quarantined:
    return Quarantined(
        received_at=message.received_at,
        topic=message.topic,
        payload=message.payload,
        reason=fault.reason,
        detail=fault.detail,
        device_key=key,
        tenant_id=device.tenant_id if device else None,
        properties=dict(message.properties),
    )
