# SPDX-License-Identifier: Apache-2.0
"""SenML JSON (RFC 8428): packs of records with base fields, resolved and grouped by time.

A record's quantity goes by its whole name (base name and name), and, where the pack has one base name only, by its
own name too. Units become UN/CEFACT codes; times below 2^28 are relative to the arrival.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from adapters.formats.device_times import from_epoch
from adapters.formats.documents import as_object, check_count, is_number, load
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload

_VERSION: Final = 10  # section 4.4
_ABSOLUTE_FROM: Final = 2**28  # section 4.5.3: below, seconds from now
_OF_ONE_RECORD: Final = frozenset({"n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"})  # nothing for those that follow

# Section 12.1 and RFC 8798, as far as UN/CEFACT Recommendation 20 has a code.
_UNITS: Final = """
m MTR, mm MMT, cm CMT, km KMT, m2 MTK, m3 MTQ, l LTR, kg KGM, g GRM, s SEC, ms C26, min MIN, h HUR, A AMP, mA 4K,
V VLT, mV 2Z, W WTT, kW KWT, J JOU, Wh WHR, kWh KWH, C COU, F FAR, Ohm OHM, S SIE, K KEL, Cel CEL, Pa PAL, hPa A97,
N NEW, Hz HTZ, MHz MHZ, rad C81, m/s MTS, km/h KMH, m/s2 MSK, m3/s MQS, l/s G51, kg/m3 KMQ, lx LUX, lm LUM, cd CDL,
mol C34, T D33, Wb WEB, H 81, Bq BQL, Gy A95, Sv D13, W/m2 D54, cd/m2 A24, S/m D10, lat DD, lon DD, deg DD, / C62,
count C62, % P1, %RH P1, %EL P1, dB 2N, dBm DBM, ppm 59, mm/h H67, VA D46, var D44, bit A99
"""
UNITS: Final[dict[str, str]] = dict(pair.split() for pair in _UNITS.split(","))


def decode(frame: Frame, _profile: FormatProfile) -> list[Measurement]:
    """The measurements of the pack, by time in the order of their first record; raises :class:`UndecodablePayload`."""
    pack = load(frame.payload)
    if not isinstance(pack, list) or not pack:
        raise UndecodablePayload("a SenML pack has to be an array of records that is not empty")
    check_count(len(pack), "records", said="the pack has")
    records = [as_object(record, "a SenML record") for record in pack]
    base: dict[str, Any] = {"short": len({r["bn"] for r in records if isinstance(r.get("bn"), str)}) <= 1}
    found: dict[datetime, Measurement] = {}
    for number, record in enumerate(records, 1):
        try:
            _resolve(record, base, frame.received_at, found)
        except (UndecodablePayload, ValueError, OverflowError) as exc:
            raise UndecodablePayload(f"record {number}: {exc}", list(found.values())) from exc
    if not found:
        raise UndecodablePayload("the pack holds no value")
    return list(found.values())


def _resolve(record: dict[str, Any], base: dict[str, Any], now: datetime, found: dict[datetime, Measurement]) -> None:
    if not record.keys() <= _OF_ONE_RECORD:
        _take_base(record, base)
    value = _value(record, base)
    if value is None:
        return
    name = _typed(record, "n", str, "")
    full = base.get("bn", "") + name
    if not full:
        raise UndecodablePayload("it has neither a name nor a base name")
    measurement = _at(base.get("bt", 0) + _typed(record, "t", float, 0), base, now, found)
    unit = _typed(record, "u", str, base.get("bu"))
    for key in {full, name} if base["short"] and name else {full}:
        measurement.values[key] = value
        if unit in UNITS:
            measurement.units[key] = UNITS[unit]  # type: ignore[index] # it is the dict made above


def _at(seconds: float, base: dict[str, Any], now: datetime, found: dict[datetime, Measurement]) -> Measurement:
    """What is measured at a time of SenML. That of the record before is at hand: most packs are of one moment."""
    if base.get("seconds") != seconds:
        moment = now + timedelta(seconds=seconds) if seconds < _ABSOLUTE_FROM else from_epoch(seconds)
        base["seconds"] = seconds
        base["at"] = found.setdefault(moment, Measurement(moment, {}, units={}))
    at: Measurement = base["at"]
    return at


def _take_base(record: dict[str, Any], base: dict[str, Any]) -> None:
    if unknown := [name for name in record if name.endswith("_")]:
        raise UndecodablePayload(f"the field {unknown[0]} has to be understood, and is not known")  # section 4.4
    version = _typed(record, "bver", float, _VERSION)
    if version > _VERSION:
        raise UndecodablePayload(f"SenML version {version} is not known; {_VERSION} is the newest known")
    for name, kind in (("bn", str), ("bu", str), ("bt", float), ("bv", float), ("bs", float)):
        if name in record:
            base[name] = _typed(record, name, kind, None)


def _value(record: dict[str, Any], base: dict[str, Any]) -> Any:
    if type(value := record.get("v")) is float:  # nearly all are
        return _sum(value, base.get("bv", 0))
    for name, kind in (("v", float), ("vs", str), ("vb", bool), ("vd", str)):
        if name in record:
            value = _typed(record, name, kind, None)
            return _sum(value, base.get("bv", 0)) if name == "v" else value
    if "s" in record:
        return _sum(_typed(record, "s", float, 0), base.get("bs", 0))
    return base.get("bv") if "n" in record else None


def _sum(one: float, other: float) -> float:
    return one + other


def _typed(record: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    if name not in record:
        return default
    value = record[name]
    fits = is_number(value) if kind is float else isinstance(value, kind)
    if not fits:
        raise UndecodablePayload(f"{name} is {value!r}; it has to be a {_KINDS[kind]}")
    return value


_KINDS: Final[dict[type, str]] = {float: "number", str: "text", bool: "boolean"}
