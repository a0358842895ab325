# SPDX-License-Identifier: Apache-2.0
"""Times as devices write them: with or without offset, "24:00", full-width spaces, seconds or milliseconds."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from broker.intake.readings import UndecodablePayload
from broker.times import parse_time

_TIME: Final = re.compile(
    r"(\d{4})[-/.]?(\d{1,2})[-/.]?(\d{1,2})(?:[T ]+|(?=\d{4}))(\d{1,2}):?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?"
    r" *(Z|[+-]\d{2}:?\d{2}|[+-]\d{2})?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH: Final = re.compile(r"\d{9,10}(\.\d{1,9})?|\d{13}", re.ASCII)
_MILLISECONDS_FROM: Final = 100_000_000_000  # as seconds that were the year 5138; as milliseconds it is 1973


def read_time(value: Any, zone: str | None) -> datetime:
    """The moment ``value`` names, in UTC; ``zone`` (IANA) holds for texts without offset.

    Texts are ISO 8601 and its relatives ("2026/9/21 10:10"); 24:00 is 00:00 of the next day. Numbers, and texts of
    digits alone, are seconds or milliseconds since 1970. Raises :class:`UndecodablePayload`.
    """
    try:
        if isinstance(value, str):
            return _from_extended(value) or _from_text(value, zone)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return from_epoch(value)
    except (ValueError, OverflowError) as exc:
        raise UndecodablePayload(f"{value!r} is not a date and time: {exc}") from exc
    raise UndecodablePayload(f"{value!r} is not a date and time")


def from_epoch(value: float) -> datetime:
    """The moment ``value`` seconds, or from 10^11 on milliseconds, after 1970.

    Raises ``ValueError``, ``OverflowError``.
    """
    if value >= _MILLISECONDS_FROM:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)


def _from_extended(text: str) -> datetime | None:
    """What nearly all send, in a tenth of the time: ISO 8601 as :func:`parse_time` knows it; None: something else."""
    try:
        return parse_time(text)
    except ValueError:
        return None


def _from_text(text: str, zone: str | None) -> datetime:
    plain = unicodedata.normalize("NFKC", text).strip()
    if _EPOCH.fullmatch(plain):
        return from_epoch(float(plain))
    found = _TIME.fullmatch(plain)
    if found is None:
        raise ValueError("neither ISO 8601 nor seconds since 1970")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    midnight = datetime(int(year), int(month), int(day))  # noqa: DTZ001 the zone is put on below
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if hours > 24 or minutes > 59 or seconds > 60 or (hours == 24 and (minutes or seconds)):
        raise ValueError(f"{hour}:{minute} is no time of day")
    micros = int((fraction or "0").ljust(6, "0")[:6])
    local = midnight + timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)
    return _in_utc(local, offset, zone)


def _in_utc(local: datetime, offset: str | None, zone: str | None) -> datetime:
    if offset is None:
        if zone is None:
            raise ValueError("it has no offset, and the device's profile names no timeZone")
        return local.replace(tzinfo=_zone(zone)).astimezone(UTC)
    if offset in "Zz":
        return local.replace(tzinfo=UTC)
    digits = offset[1:].replace(":", "").ljust(4, "0")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return (local - ahead if offset[0] == "+" else local + ahead).replace(tzinfo=UTC)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
