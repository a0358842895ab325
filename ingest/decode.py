# SPDX-License-Identifier: Apache-2.0
"""From topic and bytes to observations: pure, the same message gives the same answer.

What is wrong with a message is told by the first fault found; the parts of it that are right are kept all the same,
because a replay of the whole message later does no harm (a reading is stored once however often it comes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from broker.devices import AttributeMapping, Device
from broker.readings import Measurement, Observation, PayloadCodec, Quarantined, Reason, UndecodablePayload

TOPIC_PREFIX: Final = "minamo/v1/"
TOPIC_FILTER: Final = "minamo/v1/+/readings"
_TOPIC_SUFFIX: Final = "/readings"


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


class _Fault(Exception):
    """Why a message cannot be taken as it is."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


@lru_cache(maxsize=10_000)
def device_key(topic: str) -> str | None:
    """The device key in ``minamo/v1/<key>/readings``; None when the topic has another shape."""
    if not topic.startswith(TOPIC_PREFIX) or not topic.endswith(_TOPIC_SUFFIX):
        return None
    key = topic[len(TOPIC_PREFIX) : -len(_TOPIC_SUFFIX)]
    return key if key and "/" not in key else None


class Decoder:
    """Understands messages with a codec for the payload and the mapping of the device."""

    def __init__(self, codec: PayloadCodec, limits: Limits) -> None:
        self._codec = codec
        self._limits = limits

    def decode(
        self, message: Message, find_device: Callable[[str], Device | None]
    ) -> tuple[list[Observation], Quarantined | None]:
        """The observations in ``message``, and the message itself as quarantined when something in it is wrong."""
        key = device_key(message.topic)
        device = find_device(key) if key else None
        observations: list[Observation] = []
        try:
            self._decode(message, key, device, observations)
        except _Fault as fault:
            return observations, _quarantined(message, key, device, fault)
        return observations, None

    def _decode(
        self, message: Message, key: str | None, device: Device | None, observations: list[Observation]
    ) -> None:
        if key is None:
            raise _Fault(Reason.UNKNOWN_TOPIC, f"the topic {message.topic} is not minamo/v1/<device key>/readings")
        if len(message.payload) > self._limits.payload_bytes:
            detail = f"the payload has {len(message.payload)} bytes; at most {self._limits.payload_bytes} are taken"
            raise _Fault(Reason.TOO_LARGE, detail)
        if device is None:
            raise _Fault(Reason.UNKNOWN_DEVICE, f"no device with the key {key} is registered")
        try:
            measurements = self._codec(message.payload)
        except UndecodablePayload as exc:
            raise _Fault(Reason.UNDECODABLE, str(exc)) from exc
        fault: _Fault | None = None
        for measurement in measurements:
            try:
                self._observe(message, device, measurement, observations)
            except _Fault as exc:
                fault = fault or exc
        if fault is not None:
            raise fault

    def _observe(
        self, message: Message, device: Device, measurement: Measurement, observations: list[Observation]
    ) -> None:
        observed_at, quantities = measurement.observed_at, measurement.values
        self._check_time(observed_at, message.received_at)
        values = []
        fault: _Fault | None = None
        by_field = device.by_field
        for name, raw in quantities.items():
            for mapping in by_field.get(name, ()):
                try:
                    value = _stored_value(mapping, raw)
                except _Fault as exc:
                    fault = fault or exc
                    continue
                if value is not None:
                    values.append((mapping, value))
        if values:
            observations.append(Observation(device, observed_at, tuple(values)))
        if fault is not None:
            raise fault
        if not values and not any(name in by_field for name in quantities):
            expected = ", ".join(sorted(by_field))
            raise _Fault(Reason.NO_MAPPED_QUANTITY, f"none of the quantities is mapped; the device has: {expected}")

    def _check_time(self, observed_at: datetime, received_at: datetime) -> None:
        if observed_at - received_at > self._limits.future:
            ahead = round((observed_at - received_at).total_seconds())
            raise _Fault(Reason.IN_THE_FUTURE, f"measured {ahead} s after its arrival; is the device's clock right?")
        if received_at - observed_at > self._limits.age:
            raise _Fault(Reason.TOO_OLD, f"measured at {observed_at.isoformat()}, before the oldest time accepted")


def _stored_value(mapping: AttributeMapping, raw: Any) -> float | str | bool | None:
    """``raw`` in the stored unit, checked against the declared range; None stays "no value"."""
    if raw is None:
        return None
    if isinstance(raw, bool | str):
        if mapping.minimum is not None or mapping.maximum is not None or mapping.factor != 1.0:
            raise _Fault(Reason.WRONG_TYPE, f"{mapping.field} is {raw!r}; the device declares a number")
        return raw
    if not isinstance(raw, int | float):
        raise _Fault(Reason.WRONG_TYPE, f"{mapping.field} is of type {type(raw).__name__}; it has to be a plain value")
    value = raw * mapping.factor + mapping.offset
    if not isfinite(value):
        raise _Fault(Reason.OUT_OF_RANGE, f"{mapping.field} is {raw!r}, too large for the factor {mapping.factor}")
    if mapping.minimum is not None and value < mapping.minimum:
        raise _Fault(Reason.OUT_OF_RANGE, f"{mapping.field} is {value!r}, below the declared minimum {mapping.minimum}")
    if mapping.maximum is not None and value > mapping.maximum:
        raise _Fault(Reason.OUT_OF_RANGE, f"{mapping.field} is {value!r}, above the declared maximum {mapping.maximum}")
    return value


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
