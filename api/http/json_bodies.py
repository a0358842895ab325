# SPDX-License-Identifier: Apache-2.0
"""JSON that clients send: only what can be stored and written again goes further."""

from __future__ import annotations

from typing import Any, Final

import orjson

from broker.errors import BadRequestData, InvalidRequest

MAX_DEPTH: Final = 64
"""Levels of arrays and objects. An attribute of an attribute is stored three levels deeper than it is written."""
_WRITABLE_DEPTH: Final = 254  # of orjson


def parse_body(text: bytes) -> Any:
    """The value of ``text``.

    Raises :class:`InvalidRequest` when it is no JSON, :class:`BadRequestData` for more than :data:`MAX_DEPTH` levels
    and for NUL characters, which no text in the database can hold. In an array, each entry is for itself: one that
    cannot be stored is refused when it is stored.
    """
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"The body is not JSON: {exc}") from exc
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_too_deep(body):
        raise BadRequestData(f"The body is nested more than {MAX_DEPTH} levels deep")
    if b"\\u0000" in text and not isinstance(body, list) and _has_nul(body):
        raise BadRequestData("A text in the body has a NUL character (U+0000), which cannot be stored")
    return body


def _is_too_deep(value: Any) -> bool:
    """Found out by writing it within so many lists that only what is allowed can still be written: much faster."""
    for _ in range(_WRITABLE_DEPTH - MAX_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any("\x00" in name or _has_nul(item) for name, item in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))
