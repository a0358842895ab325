# SPDX-License-Identifier: Apache-2.0
"""What a person decides about values of one series: how good they are, or what they should have been, and why.

As JSON::

    {"from": "2026-06-01T00:00:00Z", "to": "2026-06-01T06:00:00Z", "quality": "suspect", "reason": "ice on the sensor"}

``value`` puts one value in the place of all, ``offset`` is added to each (a step, a wrong zero); corrected values are
``estimated`` unless ``quality`` says otherwise. What was measured stays in history as what is believed no longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from broker.entities import Instance
from broker.errors import BadRequestData
from broker.quality.flags import Flag, quality_attributes
from broker.times import parse_time, to_text
from schemas.terms import NO_DATASET

FLAGS: Final = (Flag.GOOD, Flag.SUSPECT, Flag.ESTIMATED, Flag.MAINTENANCE)
MAX_TEXT: Final = 1000  # characters of a reason
_MEMBERS: Final = frozenset({"from", "to", "quality", "value", "offset", "reason", "datasetId"})


@dataclass(frozen=True, slots=True)
class QualityDecision:
    """About values observed from ``start`` until before ``end``: their ``flag``; ``value`` or ``offset`` when they are
    corrected as well; ``reason`` in words."""

    start: datetime
    end: datetime
    flag: Flag
    reason: str
    value: float | None = None
    offset: float | None = None
    dataset: str = NO_DATASET

    def applied(self, instance: Instance) -> Instance:
        """A copy of ``instance`` as it is decided; only numbers have an offset."""
        value = instance["value"]
        if self.value is not None:
            value = self.value
        elif self.offset is not None and isinstance(value, int | float) and not isinstance(value, bool):
            value = round(value + self.offset, 9)  # 1.1 + 0.1 is 1.2
        said = quality_attributes(self.flag, (self.reason,), manual=True)
        return {**instance, "value": value, "attrs": {**instance.get("attrs", {}), **said}}

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        members = {
            "from": to_text(self.start),
            "to": to_text(self.end),
            "quality": self.flag.value,
            "value": self.value,
            "offset": self.offset,
            "reason": self.reason,
            "datasetId": None if self.dataset == NO_DATASET else self.dataset,
        }
        return {name: value for name, value in members.items() if value is not None}


def parse_decision(document: Mapping[str, Any]) -> QualityDecision:
    """Read a decision from its JSON form; raises :class:`BadRequestData` with what is wrong."""
    if unknown := sorted(set(document) - _MEMBERS):
        raise BadRequestData(f"{unknown[0]} is not known; the members are {', '.join(sorted(_MEMBERS))}")
    start, end = _moment(document, "from"), _moment(document, "to")
    if start >= end:
        raise BadRequestData("from is not before to")
    value, offset = _number(document, "value"), _number(document, "offset")
    if value is not None and offset is not None:
        raise BadRequestData("value and offset are two corrections; give one of them")
    return QualityDecision(
        start,
        end,
        _flag(document.get("quality"), is_corrected=value is not None or offset is not None),
        _reason(document.get("reason")),
        value,
        offset,
        _dataset(document.get("datasetId")),
    )


def _moment(document: Mapping[str, Any], name: str) -> datetime:
    text = document.get(name)
    try:
        return parse_time(text if isinstance(text, str) else "")
    except ValueError as exc:
        raise BadRequestData(f"{name} is {text!r}; it has to be a time with an offset") from exc


def _number(document: Mapping[str, Any], name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequestData(f"{name} is {value!r}; it has to be a number")
    return float(value)


def _flag(word: Any, *, is_corrected: bool) -> Flag:
    if word is None and is_corrected:
        return Flag.ESTIMATED
    if word not in FLAGS:
        raise BadRequestData(f"quality is {word!r}; it has to be {', '.join(FLAGS)}")
    return Flag(word)


def _reason(text: Any) -> str:
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise BadRequestData(f"reason has to be a text of 1 to {MAX_TEXT} characters: why it is so")
    return text.strip()


def _dataset(name: Any) -> str:
    if name is None:
        return NO_DATASET
    if not isinstance(name, str) or ":" not in name:
        raise BadRequestData(f"datasetId is {name!r}; it has to be a URI")
    return name
