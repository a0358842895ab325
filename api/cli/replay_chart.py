# SPDX-License-Identifier: Apache-2.0
"""The timeline of a replay as text for a terminal: a curve, the levels as lines, and what would have been told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from api.cli.terminal import in_words
from broker.times import parse_time
from schemas.stages import STAGE_BY_CODE

_HEIGHT: Final = 12


def timeline(station: dict[str, Any], start: str, end: str) -> str:
    """One station under one rule."""
    names = station.get("stationName") or {"ja": station["entityId"], "en": station["entityId"]}
    head = f"{in_words(names['en'], names['ja'])}  [{station['ruleId']}]  " + in_words(
        f"{station['readings']} readings", f"観測値 {station['readings']} 件"
    )
    lines = [head]
    if any(value is not None for value in station["curve"]):
        lines += _chart(station["curve"], station["levels"])
        lines.append(f"{'':10} {_local(start)} … {_local(end)}")
    lines += [_line(alert, station["unitCode"]) for alert in station["alerts"]]
    if not station["alerts"]:
        lines.append(in_words("nothing would have fired", "警報は出なかったはずです"))
    return "\n".join(lines)


def _chart(curve: Sequence[float | None], levels: Sequence[dict[str, Any]]) -> list[str]:
    """Rows of characters, the highest first; thresholds within the range are drawn through."""
    values = [value for value in curve if value is not None]
    thresholds = {level["threshold"]: level["stage"] for level in levels if level["threshold"] is not None}
    low, high = min(values), max([*values, *(t for t in thresholds if t <= max(values) * 1.5 + 0.5)])
    step = (high - low) / _HEIGHT or 1.0
    rows = []
    for number in range(_HEIGHT, -1, -1):
        floor = low + (number - 0.5) * step
        crossed = [t for t in thresholds if floor <= t < floor + step]
        empty = "-" if crossed else " "
        cells = "".join(_cell(value, floor, step, empty) for value in curve)
        rows.append(f"{low + number * step:10.2f} {cells}{' ' + thresholds[crossed[0]] if crossed else ''}")
    return rows


def _cell(value: float | None, floor: float, step: float, empty: str) -> str:
    if value is None:
        return empty
    return "*" if floor <= value < floor + step else "." if value >= floor + step and empty == " " else empty


def _line(alert: dict[str, Any], unit: str) -> str:
    stage = STAGE_BY_CODE[alert["stage"]]
    sign = {
        "raised": "▲ " + in_words("raised  ", "発生"),
        "cleared": "▽ " + in_words("cleared ", "解除"),
        "silent": "? " + in_words("unknown ", "不明"),
        "returned": "! " + in_words("heard   ", "受信"),
    }[alert["kind"]]
    limit = "" if alert["threshold"] is None else f" ({alert['threshold']:g})"
    beside = "".join(
        f"  {in_words(english, japanese)}"
        for name, english, japanese in (
            ("unstable", "unstable", "不安定"),
            ("suspect", "suspect value", "疑義値"),
            ("bySilence", "silence", "無通信"),
        )
        if alert[name]
    )
    name = in_words(stage.name_en, stage.name_ja)
    return f"{_local(alert['at'])}  {sign}  {name}{limit}  {alert['value']:g} {unit}{beside}"


def _local(text: str) -> str:
    return f"{parse_time(text).astimezone():%Y-%m-%d %H:%M:%S}"
