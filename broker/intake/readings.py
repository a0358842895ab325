# SPDX-License-Identifier: Apache-2.0
"""Readings on their way from a device to the store: what a message becomes, and what keeps it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from broker.devices.model import AttributeMapping, Device
from broker.intake.formats import FormatProfile, Frame
from broker.quality.flags import Reason as QualityReason

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Measurement(NamedTuple):
    """What a payload says: values by field name, measured at one moment (aware UTC).

    ``state`` is what it says of the device itself, by the names in :mod:`broker.devices.state`; ``units`` are
    the units (UN/CEFACT) that the message itself names, by field.
    """

    observed_at: datetime
    values: dict[str, Any]
    state: Mapping[str, Any] = _NOTHING
    units: Mapping[str, str] = _NOTHING


class Observation(NamedTuple):
    """Values of one device at one moment, mapped to attributes and checked; ``values`` are in stored units.

    ``missing`` are the quantities that the message says have no value, and why (``quality.Reason``). ``received_at``
    is when the hub got the message; None: nobody knows.
    """

    device: Device
    observed_at: datetime
    values: tuple[tuple[AttributeMapping, float | str | bool | dict[str, str]], ...]
    missing: tuple[tuple[AttributeMapping, QualityReason], ...] = ()
    received_at: datetime | None = None


class Reason(StrEnum):
    """Why a message, or a part of it, was set aside."""

    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_TOPIC = "unknown_topic"
    TOO_LARGE = "too_large"
    UNDECODABLE = "undecodable"
    NO_MAPPED_QUANTITY = "no_mapped_quantity"
    WRONG_TYPE = "wrong_type"
    WRONG_UNIT = "wrong_unit"
    OUT_OF_RANGE = "out_of_range"
    IN_THE_FUTURE = "in_the_future"
    TOO_OLD = "too_old"
    NOT_IN_SERVICE = "not_in_service"
    REFUSED_BY_STORE = "refused_by_store"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message set aside whole, with the first reason found; nothing of it is lost."""

    received_at: datetime
    topic: str
    payload: bytes
    reason: Reason
    detail: str
    device_key: str | None = None
    tenant_id: int | None = None
    properties: dict[str, Any] = field(default_factory=dict)


class UndecodablePayload(ValueError):
    """The bytes are not what the codec expects; the text says where and why, ``readable`` is what is right in them."""

    def __init__(self, text: str, readable: Sequence[Measurement] = ()) -> None:
        self.readable = readable
        super().__init__(text)


def read_each(parts: Iterable[tuple[int, Any]], read: Callable[[Any], Measurement], what: str) -> list[Measurement]:
    """The numbered ``parts`` of a payload (``what`` they are: lines, records); one that is wrong spoils no other.

    Raises :class:`UndecodablePayload` with the first fault and its number, when all of them were looked at.
    """
    found: list[Measurement] = []
    first: UndecodablePayload | None = None
    for number, part in parts:
        try:
            found.append(read(part))
        except UndecodablePayload as exc:
            first = first or UndecodablePayload(f"{what} {number}: {exc}", found)
    if first is not None:
        raise first
    return found


class PayloadCodec(Protocol):
    """Turns the bytes of a message into measurements. Pure: same bytes, same answer."""

    def __call__(self, payload: bytes) -> list[Measurement]:
        """Raises :class:`UndecodablePayload`."""
        ...


class FormatDecoder(Protocol):
    """Turns a frame into measurements as the profile of its device says. Pure: same arguments, same answer."""

    def __call__(self, frame: Frame, profile: FormatProfile, /) -> list[Measurement]:
        """Raises :class:`UndecodablePayload`."""
        ...


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """What one committed batch did: counts of values by fate; ``missing`` were sent as having no value."""

    values: int = 0
    current: int = 0
    late: int = 0
    repeated: int = 0
    corrections: int = 0
    quarantined: int = 0
    missing: int = 0


class ReadingStore(Protocol):
    """Where ingest puts what it has understood."""

    async def commit(self, observations: list[Observation], quarantined: list[Quarantined]) -> CommitSummary:
        """Store all of it in one transaction and return when it is durable.

        Raises :class:`~broker.errors.StoreUnavailable` when the database is away (nothing was stored), and
        :class:`UnstorableBatch` when it refuses the content.
        """
        ...


class UnstorableBatch(Exception):
    """The database refuses something in the batch; the batch was not stored."""
