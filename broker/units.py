# SPDX-License-Identifier: Apache-2.0
"""Units of measurement: UN/CEFACT codes (Recommendation 20) that can be turned into each other."""

from __future__ import annotations

from typing import Final, NamedTuple


class Unit(NamedTuple):
    """A unit of ``dimension``: the value in the dimension's base unit is ``value * factor + offset``."""

    dimension: str
    factor: float
    offset: float = 0.0


UNITS: Final[dict[str, Unit]] = {
    "MTR": Unit("length", 1.0),
    "DMT": Unit("length", 0.1),
    "CMT": Unit("length", 0.01),
    "MMT": Unit("length", 0.001),
    "KMT": Unit("length", 1000.0),
    "FOT": Unit("length", 0.3048),
    "INH": Unit("length", 0.0254),
    "PAL": Unit("pressure", 1.0),
    "A97": Unit("pressure", 100.0),
    "MBR": Unit("pressure", 100.0),
    "KPA": Unit("pressure", 1000.0),
    "BAR": Unit("pressure", 100_000.0),
    "CEL": Unit("temperature", 1.0),
    "KEL": Unit("temperature", 1.0, -273.15),
    "FAH": Unit("temperature", 5 / 9, -160 / 9),
    "C62": Unit("ratio", 1.0),
    "P1": Unit("ratio", 0.01),
    "VLT": Unit("voltage", 1.0),
    "2Z": Unit("voltage", 0.001),
    "AMP": Unit("current", 1.0),
    "4K": Unit("current", 0.001),
    "SEC": Unit("time", 1.0),
    "C26": Unit("time", 0.001),
    "MIN": Unit("time", 60.0),
    "HUR": Unit("time", 3600.0),
    "DAY": Unit("time", 86_400.0),
    "MTS": Unit("speed", 1.0),
    "KMH": Unit("speed", 1 / 3.6),
    "MQS": Unit("flow", 1.0),
    "G51": Unit("flow", 0.001),
    "MTQ": Unit("volume", 1.0),
    "LTR": Unit("volume", 0.001),
}


def conversion(source: str, target: str) -> tuple[float, float] | None:
    """Factor and offset with ``target value = source value * factor + offset``; None when there is none."""
    if source == target:
        return 1.0, 0.0
    one, other = UNITS.get(source), UNITS.get(target)
    if one is None or other is None or one.dimension != other.dimension:
        return None
    return round(one.factor / other.factor, 15), (one.offset - other.offset) / other.factor
