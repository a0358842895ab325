# SPDX-License-Identifier: Apache-2.0
"""In which format a device sends, and what has to be known of it to read its messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from broker.errors import BadRequestData
from broker.times import time_zone

MINAMO_JSON: Final = "minamo-json"

_MEMBERS: Final = {
    "name": "name",
    "codec": "codec",
    "fields": "fields",
    "timeField": "time_field",
    "timeZone": "time_zone",
    "records": "records",
    "select": "select",
    "columns": "columns",
    "separator": "separator",
    "encoding": "encoding",
    "zeros": "zeros",
    "sentinels": "sentinels",
    "address": "address",
}


class Frame(NamedTuple):
    """A message as a format sees it. ``attribute`` is the one that its topic names (FIWARE: ``.../attrs/<name>``)."""

    topic: str
    payload: bytes
    received_at: datetime
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class FormatProfile:
    """How the messages of a device are to be read.

    ``name`` is one of the formats, ``codec`` one of the codecs for the bytes of a LoRaWAN uplink; ``fields`` are
    payload expressions by the name of the field they give. ``time_field`` is where the time stands, ``time_zone``
    (IANA) holds for times without offset. ``records`` is the path of the array of records in a JSON document,
    ``select`` what a record has to hold to be of this device. ``columns`` and ``separator`` are those of CSV lines,
    ``encoding`` that of text. ``zeros`` are fields that are 0 where a message leaves them out, ``sentinels`` values
    that mean "no value". ``address`` is the name by which the network knows the device, where that is not its key.
    """

    name: str = MINAMO_JSON
    codec: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    time_field: str | None = None
    time_zone: str | None = None
    records: str | None = None
    select: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    separator: str = ","
    encoding: str = "utf-8"
    zeros: tuple[str, ...] = ()
    sentinels: tuple[float | str, ...] = ()
    address: str | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form, without members that have their default."""
        default = FormatProfile()
        found = {name: getattr(self, member) for name, member in _MEMBERS.items()}
        changed = {name: value for name, value in found.items() if value != getattr(default, _MEMBERS[name])}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


DEFAULT_PROFILE: Final = FormatProfile()


def parse_profile(document: Any, path: str = "device.format") -> FormatProfile:
    """Read a profile from its JSON form: the name of a format, or an object. Raises :class:`BadRequestData`.

    Whether there is such a format, codec and so on is checked where those are
    (``adapters.formats.table.check_profile``).
    """
    if document is None:
        return DEFAULT_PROFILE
    if isinstance(document, str):
        document = {"name": document}
    if not isinstance(document, dict):
        raise BadRequestData(f"{path} is {document!r}; it has to be the name of a format or an object")
    if unknown := sorted(set(document) - set(_MEMBERS)):
        raise BadRequestData(f"{path}.{unknown[0]} is not known; the members are {', '.join(sorted(_MEMBERS))}")
    given = {_MEMBERS[name]: _member(value, name, path) for name, value in document.items()}
    profile = FormatProfile(**given)
    _check_zone(profile.time_zone, path)
    _check_encoding(profile.encoding, path)
    return profile


def _member(value: Any, name: str, path: str) -> Any:
    if name in ("fields", "select"):
        if isinstance(value, dict) and (name == "select" or all(isinstance(text, str) for text in value.values())):
            return value
        raise BadRequestData(f"{path}.{name} is {value!r}; it has to be an object")
    if name in ("columns", "zeros"):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise BadRequestData(f"{path}.{name} is {value!r}; it has to be an array of texts")
    if name == "sentinels":
        return parse_sentinels(value, f"{path}.sentinels")
    if not isinstance(value, str) or not value:
        raise BadRequestData(f"{path}.{name} is {value!r}; it has to be a text that is not empty")
    return value


def parse_sentinels(value: Any, path: str) -> tuple[float | str, ...]:
    """Values that mean "no value": an array of numbers and texts. Raises :class:`BadRequestData`."""
    if isinstance(value, list) and all(isinstance(v, int | float | str) and not isinstance(v, bool) for v in value):
        return tuple(value)
    raise BadRequestData(f"{path} is {value!r}; it has to be an array of numbers and texts")


def is_sentinel(value: Any, sentinels: tuple[float | str, ...]) -> bool:
    """Whether ``value`` is one of ``sentinels``. Case and surrounding space of texts do not count; a text that is a
    number counts as the number ("-9999")."""
    if not sentinels or isinstance(value, bool):
        return False
    if isinstance(value, str):
        plain = value.strip().casefold()
        return any(plain == str(sentinel).casefold() for sentinel in sentinels)
    return isinstance(value, int | float) and value in sentinels


def _check_zone(name: str | None, path: str) -> None:
    try:
        if name is not None:
            time_zone(name)
    except ValueError as exc:
        raise BadRequestData(f"{path}.timeZone is {name!r}; it has to be an IANA name such as Asia/Tokyo") from exc


def _check_encoding(name: str, path: str) -> None:
    try:
        "".encode(name)
    except (LookupError, ValueError) as exc:
        raise BadRequestData(f"{path}.encoding is {name!r}, which is not known; utf-8 and cp932 are") from exc
