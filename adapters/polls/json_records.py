# SPDX-License-Identifier: Apache-2.0
"""Records of a JSON document, GeoJSON too. A path has names, places and ``*``: ``Data``, ``stations.*.values``.

What the objects on the way say of themselves comes along as ``../name``; the name of a member that ``*`` stood for is
``$key`` of its record, or ``../$key`` below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from adapters.formats.documents import flatten, load, member
from broker.intake.polls import PollFormat
from broker.intake.readings import UndecodablePayload


class _Found(NamedTuple):
    value: Any
    above: dict[str, Any]


def read(body: bytes, format: PollFormat) -> tuple[list[dict[str, Any]], Callable[[str], Any]]:
    """The records in ``body``, flat; raises :class:`UndecodablePayload`."""
    document = load(body.removeprefix(b"\xef\xbb\xbf"), format.encoding)
    found = [_Found(document, {})]
    for name in format.records.split(".") if format.records else ():
        found = [below for one in found for below in _step(one, name)]
    records = [record for one in found for record in _records(one)]
    if format.records and not found:
        raise UndecodablePayload(f"there is nothing at {format.records}")
    return records, lambda path: member(document, path)


def _step(found: _Found, name: str) -> Iterator[_Found]:
    value = found.value
    above = {f"../{key}": held for key, held in found.above.items()} | _plain(value, "../")
    if name == "*":
        if isinstance(value, dict):
            yield from (_Found(part, {**above, "$key": key}) for key, part in value.items())
        elif isinstance(value, list):
            yield from (_Found(part, found.above) for part in value)
    elif (part := member(value, name)) is not None:
        yield _Found(part, above)


def _plain(value: Any, prefix: str) -> dict[str, Any]:
    """What an object says of itself, without what is below it."""
    if not isinstance(value, dict):
        return {}
    return {f"{prefix}{key}": held for key, held in value.items() if not isinstance(held, dict | list)}


def _records(found: _Found) -> Iterator[dict[str, Any]]:
    for value in found.value if isinstance(found.value, list) else [found.value]:
        if not isinstance(value, dict):
            raise UndecodablePayload(f"a record has to be an object, not {type(value).__name__}")
        yield found.above | flatten(value)
