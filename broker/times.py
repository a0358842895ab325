# SPDX-License-Identifier: Apache-2.0
"""Times as the hub writes and reads them (clause 4.6.3: ISO 8601 in UTC with a trailing ``Z``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import orjson

_EXTENDED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})", re.ASCII)


def to_text(moment: datetime) -> str:
    """Write an aware ``moment`` in UTC: ``2026-11-21T07:47:43Z``, with a fraction only when it is not zero.

    By orjson, which takes a fifth of the time of ``isoformat``: history is made of times.
    """
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    text = orjson.dumps(utc, option=orjson.OPT_UTC_Z).decode()
    return text[1:-2].rstrip("0") + "Z" if moment.microsecond else text[1:-1]


def to_texts(moments: Iterable[datetime]) -> list[str]:
    """As :func:`to_text`, of many at once: ten times faster."""
    utc = [moment if moment.tzinfo is UTC else moment.astimezone(UTC) for moment in moments]
    if not utc:
        return []
    texts = orjson.dumps(utc, option=orjson.OPT_UTC_Z)[2:-2].decode().split('","')
    return [text[:-1].rstrip("0") + "Z" if "." in text else text for text in texts]


def from_database(texts: Sequence[str]) -> list[str]:
    """As :func:`to_text`, of times as PostgreSQL writes them in UTC (``2026-11-21 03:00:00.5+00``)."""
    lines = "".join([text + "\n" for text in texts])
    return lines.replace(" ", "T").replace("+00\n", "Z\n").splitlines()


def to_text_or_none(moment: datetime | None) -> str | None:
    """As :func:`to_text`; None for a moment that there is none of."""
    return None if moment is None else to_text(moment)


def time_zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name; raises ``ValueError`` when there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as exc:
        raise ValueError(f"{name!r} is no time zone") from exc


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 date and time that carries its offset; the result is in UTC.

    Raises ``ValueError`` for a naive or malformed time, and for one that is outside of the years 1 to 9999 in UTC.
    More than six fractional digits are cut off.
    """
    if not _EXTENDED.fullmatch(text):
        raise ValueError(f"{text!r} is not an ISO 8601 date and time with an offset")
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError(f"{text!r} is outside of the years 1 to 9999 in UTC") from exc
