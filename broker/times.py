# SPDX-License-Identifier: Apache-2.0
"""Times as the hub writes and reads them (clause 4.6.3: ISO 8601 in UTC with a trailing ``Z``)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_EXTENDED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})", re.ASCII)


def to_text(moment: datetime) -> str:
    """Write an aware ``moment`` in UTC: ``2026-11-21T07:47:43Z``, with a fraction only when it is not zero."""
    text = (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).isoformat()[: -len("+00:00")]
    return (text.rstrip("0") if moment.microsecond else text) + "Z"


def to_text_or_none(moment: datetime | None) -> str | None:
    """As :func:`to_text`; None for a moment that there is none of."""
    return None if moment is None else to_text(moment)


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 date and time that carries its offset; the result is in UTC.

    Raises ``ValueError`` for a naive or malformed time, and for one that is outside of the years 1 to 9999 in UTC.
    More than six fractional digits are cut off.
    """
    if not _EXTENDED.fullmatch(text):
        raise ValueError(f"{text!r} is not an ISO 8601 date and time with an offset")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as exc:
        raise ValueError(f"{text!r} is outside of the years 1 to 9999 in UTC") from exc
