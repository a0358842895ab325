# SPDX-License-Identifier: Apache-2.0
"""Documents on their way to quantities: loading, walking, flattening."""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8
from typing import Any, Final

import orjson

from broker.intake.readings import UndecodablePayload

MAX_RECORDS: Final = 10_000  # of one message; far above what fits a sensible payload limit
_MAX_FIELDS: Final = 1_000
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def load(payload: bytes, encoding: str = "utf-8") -> Any:
    """The JSON document in ``payload``; raises :class:`UndecodablePayload`."""
    try:
        if encoding != "utf-8":
            payload = payload.decode(encoding).encode()
        return orjson.loads(payload.removeprefix(BOM_UTF8))
    except (ValueError, LookupError) as exc:
        raise UndecodablePayload(f"the payload is not JSON: {exc}") from exc


def csv_lines(payload: bytes, encoding: str, separator: str, *, what: str = "payload") -> list[list[str]]:
    """The cells of each line, without space around; raises :class:`UndecodablePayload`, which calls it ``what``."""
    try:
        text = payload.decode(encoding).removeprefix("\ufeff")
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except (ValueError, LookupError, csv.Error) as exc:
        hint = "; where it is Shift_JIS, encoding has to be cp932" if encoding == "utf-8" else ""
        raise UndecodablePayload(f"the {what} is not CSV in {encoding}: {exc}{hint}") from exc
    return [[cell.strip() for cell in line] for line in lines]


def check_count(count: int, what: str, *, said: str = "there are") -> None:
    """Raise :class:`UndecodablePayload` when the ``count`` of ``what`` is above :data:`MAX_RECORDS`."""
    if count > MAX_RECORDS:
        raise UndecodablePayload(f"{said} {count} {what}; at most {MAX_RECORDS} are taken at once")


def as_object(value: Any, what: str) -> dict[str, Any]:
    """``value`` when it is an object; raises :class:`UndecodablePayload`."""
    if not isinstance(value, dict):
        raise UndecodablePayload(f"{what} has to be an object, not {type(value).__name__}")
    return value


def member(document: Any, path: str) -> Any:
    """What stands at ``path`` ("uplink_message.rx_metadata.0.rssi"); None when nothing does."""
    for name in path.split("."):
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdigit():
            document = document[int(name[:6])] if int(name[:6]) < len(document) else None
        else:
            return None
    return document


def flatten(document: Any, prefix: str = "") -> dict[str, Any]:
    """The plain values in ``document`` by their paths; raises :class:`UndecodablePayload` when there are too many."""
    found: dict[str, Any] = {}
    waiting = [(prefix, document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}.{name}" if path else name, part) for name, part in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{path}.{n}" if path else str(n), value[n]) for n in reversed(range(len(value)))]
        else:
            found[path] = value.strip() if isinstance(value, str) else value
        if len(found) + len(waiting) > _MAX_FIELDS:
            raise UndecodablePayload(f"the document has more than {_MAX_FIELDS} values")
    return found


def plain_value(text: str) -> float | str | None:
    """A number where ``text`` is one, None where it is blank, else the text without surrounding space, also U+3000."""
    text = text.strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() and "." not in text and abs(number) < 1e15 else number
    return text


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
