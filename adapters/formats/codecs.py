# SPDX-License-Identifier: Apache-2.0
"""Which codec understands the bytes of an uplink: one row for each model of sensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from adapters.formats import cayenne_lpp, decentlab, milesight, netvox
from adapters.formats.expression import ExpressionError, Uplink, evaluate
from broker.intake.readings import UndecodablePayload

# What was measured: at the time of the uplink (None) or at one the device kept.
Decoded = list[tuple[datetime | None, dict[str, Any]]]
Codec = Callable[[Uplink], Decoded]


def _decentlab(model: str) -> Codec:
    return lambda uplink: [(None, decentlab.decode(model, uplink.payload))]


def _milesight(model: str) -> Codec:
    return lambda uplink: milesight.decode(model, uplink.payload)


CODECS: Final[Mapping[str, Codec]] = {
    **{f"decentlab/{model}": _decentlab(model) for model in decentlab.MODELS},
    **{f"milesight/{model}": _milesight(model) for model in milesight.MODELS},
    "netvox/R718WB": lambda uplink: [(None, netvox.decode_r718wb(uplink.payload, uplink.port))],
    "cayenne-lpp": lambda uplink: [(None, cayenne_lpp.decode(uplink.payload))],
}


def by_expressions(fields: Mapping[str, str], uplink: Uplink) -> Decoded:
    """The fields as their expressions say; raises :class:`UndecodablePayload`."""
    found = {}
    for name, text in fields.items():
        try:
            found[name] = evaluate(text, uplink)
        except ExpressionError as exc:
            raise UndecodablePayload(f"{name}: {exc}") from exc
    return [(None, found)]
