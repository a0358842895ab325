# SPDX-License-Identifier: Apache-2.0
"""Times as the hub writes and reads them (clause 4.6.3: ISO 8601 in UTC with a trailing ``Z``)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_EXTENDED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})")


def to_text(moment: datetime) -> str:
    """Write an aware ``moment`` in UTC: ``2026-11-21T07:47:43Z``, with a fraction only when it is not zero."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if moment.microsecond:
        text += f".{moment.microsecond:06d}".rstrip("0")
    return text + "Z"


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 date and time that carries its offset; the result is in UTC.

    Raises ``ValueError`` for a naive or malformed time. More than six fractional digits are cut off.
    """
    if not _EXTENDED.fullmatch(text):
        raise ValueError(f"{text!r} is not an ISO 8601 date and time with an offset")
    text = text.replace(",", ".")
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    return datetime.fromisoformat(text).astimezone(UTC)
