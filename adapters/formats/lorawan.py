# SPDX-License-Identifier: Apache-2.0
"""What the uplinks of all LoRaWAN network servers have in common: bytes at a port, the time, how they were heard."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adapters.formats.codecs import CODECS, Decoded, by_expressions
from adapters.formats.documents import flatten, is_number
from adapters.formats.expression import Uplink
from broker.devices.state import state_of
from broker.intake.formats import FormatProfile
from broker.intake.readings import Measurement, UndecodablePayload

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Envelope(NamedTuple):
    """An uplink out of its network server's message; ``decoded`` is what a decoder there made of the bytes."""

    received_at: datetime
    payload: bytes | None
    port: int | None
    decoded: Any = None
    state: Mapping[str, Any] = _NOTHING


def measurements(envelope: Envelope, profile: FormatProfile) -> list[Measurement]:
    """What the uplink measured, by the profile's codec or expressions, else as the network server decoded it."""
    found = []
    for time, values in _decoded(envelope, profile):
        state = {**_known(envelope.state), **state_of(values)} if time is None else state_of(values)
        if values or state:
            found.append(Measurement(time or envelope.received_at, values, state))
    return found


def _decoded(envelope: Envelope, profile: FormatProfile) -> Decoded:
    if profile.codec is None and not profile.fields:
        if envelope.decoded is None:
            raise UndecodablePayload("the network server decoded nothing, and the profile names no codec and no fields")
        return [(None, flatten(envelope.decoded))]
    if envelope.payload is None:
        raise UndecodablePayload("the uplink has no payload")
    uplink = Uplink(envelope.payload, envelope.port)
    if profile.codec is None:
        return by_expressions(profile.fields, uplink)
    found = CODECS[profile.codec](uplink)
    if profile.fields:
        found[0][1].update(by_expressions(profile.fields, uplink)[0][1])
    return found


def _known(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if value is not None}


def best(receptions: Any, rssi: str, snr: str, gateway: str) -> dict[str, Any]:
    """Signal and name of the gateway that heard the uplink best; the arguments are the members' names."""
    heard = [r for r in receptions if isinstance(r, dict)] if isinstance(receptions, list) else []
    if not heard:
        return {}
    strongest = max(heard, key=lambda r: r[rssi] if is_number(r.get(rssi)) else -1e9)
    found = {"rssi": number(strongest.get(rssi)), "snr": number(strongest.get(snr)), "gatewayCount": len(heard)}
    name = strongest.get(gateway)
    return {**found, "gateway": name if isinstance(name, str) else None}


def number(value: Any) -> float | None:
    """``value`` when it is a number, also one written as text ("868500000")."""
    if type(value) is int or type(value) is float:  # nearly all are
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return value if is_number(value) else None


def port_of(value: Any) -> int | None:
    """A LoRaWAN port, 0 to 255; None when there is none. Raises :class:`UndecodablePayload`."""
    value = number(value)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value <= 255:
        raise UndecodablePayload(f"the port is {value!r}; it has to be 0 to 255")
    return value


def from_base64(value: Any) -> bytes | None:
    """The bytes in base64; None when there are none. Raises :class:`UndecodablePayload`."""
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as exc:
        raise UndecodablePayload(f"the payload is not base64: {exc}") from exc


def from_hex(value: Any) -> bytes | None:
    """The bytes in hexadecimal digits; None when there are none. Raises :class:`UndecodablePayload`."""
    if value is None:
        return None
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError) as exc:
        raise UndecodablePayload(f"the payload is not hexadecimal: {exc}") from exc


def spreading_factor(text: Any) -> int | None:
    """12 of "SF12 BW125 4/5"."""
    if not isinstance(text, str) or not text.startswith("SF"):
        return None
    digits = text[2:].split(" ", 1)[0].split("B", 1)[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 2 else None
