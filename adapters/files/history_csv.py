# SPDX-License-Identifier: Apache-2.0
"""Reading history files (CSV; columns of :mod:`broker.history.rows`), a part of some ten thousand rows at a time.

Columns are read as columns: a file of numbers with good times costs about a microsecond a row. Where anything is
amiss, the rows are looked at one by one, and those that cannot be understood are told with the reason.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import numpy as np
import orjson

from broker.entities import VALUE_MEMBER, AttributeKind, Instance
from broker.errors import BadRequestData
from broker.history.imports import Believed, Numbers, Other, Part, Rejected, Series
from broker.history.rows import COLUMNS, NEEDED, ValueType
from broker.times import parse_time, to_text
from broker.validation import check_geometry
from schemas.terms import NO_DATASET

# Columns that say nothing of their own: of reject files, and of Parquet.
IGNORED: Final = frozenset({"line", "reason", "numberValue"})
_SERIES: Final = ("entityId", "type", "attribute", "datasetId", "kind", "source", "unitCode", "quality")
_QUALITIES: Final = frozenset({"", "good", "suspect", "missing", "estimated", "maintenance"})
_EARLIEST: Final = datetime(1800, 1, 1, tzinfo=UTC)  # before anybody measured the level of a river every day
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Columns = Mapping[str, Sequence[str]]


class _Refused(Exception):
    """A row cannot be understood."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class HistoryReader:
    """Reads parts of one file. ``expand`` makes an IRI of a name (raises :class:`BadRequestData`); times after
    ``latest`` are refused."""

    def __init__(
        self, header: Sequence[str], expand: Callable[[str], str], latest: datetime, *, as_recorded: bool = False
    ) -> None:
        self._header = [name.strip() for name in header]
        self._expand = expand
        self._latest = latest
        self._as_recorded = as_recorded
        _check(self._header, as_recorded=as_recorded)

    def parts(self, text: str, size: int) -> Iterator[Part]:
        """The rows of ``text`` (whole rows without the header), at most ``size`` in each part."""
        rows = (row for row in csv.reader(io.StringIO(text, newline="")) if row)
        try:
            while part := list(islice(rows, size)):
                yield self._read(part)
        except csv.Error as exc:
            raise BadRequestData(f"The file is not CSV: {exc}") from exc

    def _read(self, rows: list[list[str]]) -> Part:
        width = len(self._header)
        rejected = [
            Rejected(place, "columns", f"{len(row)} columns instead of {width} / 列数が {width} ではありません")
            for place, row in enumerate(rows)
            if len(row) != width
        ]
        wrong = {fault.row for fault in rejected}
        places = [place for place in range(len(rows)) if place not in wrong] if wrong else range(len(rows))
        kept = [rows[place] for place in places] if wrong else rows
        columns = dict(zip(self._header, zip(*kept, strict=True), strict=True)) if kept else {}
        return self._part(len(rows), columns, list(places), rejected)

    def _part(self, count: int, columns: Columns, places: list[int], rejected: list[Rejected]) -> Part:
        if not places:
            return Part(count, (), Numbers(), (), rejected)
        given = {name: columns.get(name) or ("",) * len(places) for name in COLUMNS}
        keys = list(zip(*(given[name] for name in _SERIES), strict=True))
        numbers_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        series, faults = self._series(numbers_of)
        numbers = [numbers_of[key] for key in keys]
        if not faults and _are_plain(given) and not self._as_recorded:
            plain = self._all_numbers(given, places, numbers)
            if plain is not None:
                return Part(count, series, plain, (), rejected)
        return self._one_by_one(count, given, places, numbers, series, faults, rejected)

    def _series(self, keys: Mapping[tuple[str, ...], int]) -> tuple[list[Series], dict[int, _Refused]]:
        """The series of the different beginnings of rows, and which of them cannot be understood."""
        series, faults = [], {}
        for key, number in keys.items():
            try:
                series.append(self._one_series(*key))
            except _Refused as refused:
                faults[number] = refused
                series.append(Series("", (), "", NO_DATASET, "", "", None, None))
        return series, faults

    def _one_series(
        self, entity_id: str, types: str, attribute: str, dataset: str, kind: str, source: str, unit: str, quality: str
    ) -> Series:
        kind = kind or AttributeKind.PROPERTY
        if kind not in VALUE_MEMBER:
            raise _Refused("kind", f"{kind!r} is no kind of attribute / 属性の種類ではありません")
        if quality not in _QUALITIES:
            raise _Refused("quality", f"{quality!r} is no quality / 品質の値ではありません")
        for uri in (entity_id, dataset):
            if (uri or uri is entity_id) and (":" not in uri or any(blank in uri for blank in " \t\n")):
                raise _Refused("name", f"{uri!r} is no URI / URI ではありません")
        try:
            iris = tuple(self._expand(name) for name in types.split())
            name = self._expand(attribute)
        except BadRequestData as exc:
            raise _Refused("name", exc.detail) from exc
        return Series(entity_id, iris, name, dataset or NO_DATASET, kind, source, unit or None, quality or None)

    def _all_numbers(self, given: Columns, places: list[int], series: list[int]) -> Numbers | None:
        """The rows as columns; None where a time or a value is not as usual."""
        times = _times_us(given["observedAt"])
        values = _floats(given["value"])
        if times is None or values is None:
            return None
        if times.max() > _us(self._latest) or times.min() < _us(_EARLIEST):
            return None
        return Numbers(places, series, times, values)

    def _one_by_one(
        self,
        count: int,
        given: Columns,
        places: list[int],
        numbers: list[int],
        series: list[Series],
        faults: Mapping[int, _Refused],
        rejected: list[Rejected],
    ) -> Part:
        others: list[Other] = []
        plain: list[tuple[int, int, int, float]] = []
        believed: list[Believed] = []
        for place, number, row in zip(places, numbers, _dicts(given), strict=True):
            try:
                if number in faults:
                    raise faults[number]
                if any("\0" in text for text in row.values()):
                    raise _Refused("value", "A text has a NUL character / NUL 文字があります")
                other = self._row(place, number, series[number], row)
            except _Refused as refused:
                rejected.append(Rejected(place, refused.reason, str(refused)))
                continue
            value = other.instance.get("value") if other.instance else None
            if other.observed and _is_plain(other, value):
                plain.append((place, number, _us(other.at), float(value)))  # type: ignore[arg-type]
                if other.believed is not None:
                    believed.append(other.believed)
            else:
                others.append(other)
        columns = Numbers()
        if plain:
            rows, of, times, values = zip(*plain, strict=True)
            columns = Numbers(rows, of, times, values, believed if self._as_recorded else None)
        return Part(count, series, columns, others, rejected)

    def _row(self, place: int, number: int, series: Series, row: Mapping[str, str]) -> Other:
        observed = bool(row["observedAt"])
        at = self._time(row, "observedAt") if observed else self._time(row, "recordedAt")
        believed = None
        if self._as_recorded:
            superseded = self._time(row, "supersededAt") if row["supersededAt"] else None
            believed = Believed(self._time(row, "recordedAt"), superseded)
        elif row["supersededAt"]:
            raise _Refused("superseded", "This row is believed no longer; asRecorded takes it / 訂正前の行です")
        return Other(place, number, at, observed, _instance(series, row, at, observed=observed), believed)

    def _time(self, row: Mapping[str, str], name: str) -> datetime:
        try:
            moment = parse_time(row[name].replace(" ", "T", 1))
        except ValueError as exc:
            raise _Refused(name, f"{name}: {exc} / 時差付きの ISO 8601 ではありません") from exc
        if not _EARLIEST <= moment <= self._latest:
            raise _Refused(name, f"{name}: {row[name]} is in the future or before 1800 / 時刻が範囲外です")
        return moment


def _check(header: Sequence[str], *, as_recorded: bool) -> None:
    """Raise :class:`BadRequestData` unless the columns are those of a history file."""
    needed = (*NEEDED, "recordedAt") if as_recorded else NEEDED
    missing = [name for name in needed if name not in header]
    unknown = [name for name in header if name not in COLUMNS and name not in IGNORED]
    if missing or unknown or len(set(header)) != len(header):
        told = f"missing {', '.join(missing)}" if missing else f"unknown or twice: {', '.join(unknown or header)}"
        raise BadRequestData(f"The columns are not those of a history file: {told}")


def _are_plain(given: Columns) -> bool:
    """Whether all rows are Properties that were observed, with nothing beside their value and said to be numbers."""
    return (
        set(given["valueType"]) <= {"", ValueType.NUMBER}
        and set(given["kind"]) <= {"", AttributeKind.PROPERTY}
        and set(given["detail"]) == {""}
        and set(given["supersededAt"]) == {""}
    )


def _is_plain(other: Other, value: Any) -> bool:
    """Whether a row is a number and nothing but."""
    instance = other.instance
    return (
        instance is not None
        and type(value) in (int, float)
        and abs(value) <= 2**53
        and instance["type"] == AttributeKind.PROPERTY
        and instance.keys() <= {"type", "value", "observedAt", "unitCode"}
    )


def _times_us(texts: Sequence[str]) -> Any:
    """Microseconds since 1970 of times in UTC as the hub writes them; None if one is written otherwise."""
    if not all(text[-1:] == "Z" and text[10:11] == "T" and len(text) in (20, 22, 23, 24, 25, 26, 27) for text in texts):
        return None
    try:
        times = np.array([text[:-1] for text in texts], dtype="datetime64[us]")
    except ValueError:
        return None
    return None if np.isnat(times).any() else times.astype(np.int64)


def _floats(texts: Sequence[str]) -> Any:
    """Finite numbers; None if one is not."""
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    return values if np.isfinite(values).all() and "_" not in "".join(texts) else None


def _dicts(given: Columns) -> Iterator[dict[str, str]]:
    names = tuple(given)
    return (dict(zip(names, row, strict=True)) for row in zip(*given.values(), strict=True))


def _instance(series: Series, row: Mapping[str, str], at: datetime, *, observed: bool) -> Instance | None:
    """The attribute instance of a row; None for a removal."""
    if row["valueType"] == ValueType.REMOVED:
        return None
    value = _value(row["value"], row["valueType"])
    if series.kind == AttributeKind.GEO_PROPERTY:
        _check_geometry(value)
    instance: Instance = {"type": series.kind, VALUE_MEMBER[series.kind]: value}
    if observed:
        instance["observedAt"] = to_text(at)
    if series.unit_code is not None:
        instance["unitCode"] = series.unit_code
    return instance | _detail(row["detail"])


def _check_geometry(value: Any) -> None:
    try:
        check_geometry(value, "value")
    except BadRequestData as exc:
        raise _Refused("value", f"{exc.detail} / GeoJSON の図形ではありません") from exc


def _value(text: str, kind: str) -> Any:
    try:
        if kind == ValueType.TEXT:
            return text
        if kind == ValueType.NUMBER:
            return _number(text)
        if kind == ValueType.BOOLEAN:
            return {"true": True, "false": False}[text]
        if kind == ValueType.JSON:
            return orjson.loads(text)
    except (ValueError, KeyError) as exc:
        raise _Refused("value", f"{text!r} is no {kind} / 値が読めません") from exc
    if kind:
        raise _Refused("value", f"{kind!r} is no type of value / 値の型ではありません")
    return _guessed(text)


def _guessed(text: str) -> Any:
    """A value of which nobody said what it is."""
    if text == "":
        raise _Refused("value", "There is no value / 値がありません")
    if text in ("true", "false"):
        return text == "true"
    try:
        return _number(text)
    except ValueError:
        return text


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value) or "_" in text:
        raise ValueError(text)
    return value


def _detail(text: str) -> Instance:
    if not text:
        return {}
    try:
        detail = orjson.loads(text)
    except ValueError as exc:
        raise _Refused("detail", "detail is no JSON / detail が JSON ではありません") from exc
    if not isinstance(detail, dict):
        raise _Refused("detail", "detail is no JSON object / detail が JSON オブジェクトではありません")
    return detail


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
