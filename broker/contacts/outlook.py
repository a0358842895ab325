# SPDX-License-Identifier: Apache-2.0
"""What stands beside the level in a message: where it is going, what to do next, and where to do it.

A step that is told has ``trend`` (``{"change", "seconds"}``: by how much within how long, in the unit of the step) and
``page``, the address of the page of alarms ("": nobody has said where it is). What is to be done is what staff does
with an alarm, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from broker.alerts.messages import quantity
from schemas.stages import NO_DATA

Step = Mapping[str, Any]

_STEADY_M_PER_H: Final = 0.02  # less is waves and the steps of the gauge
_TO_ANSWER: Final = frozenset({"raised", "escalated", "unacknowledged"})
_TREND: Final = {"ja": "傾向: {minutes}分で {change}（{way}）", "en": "Trend: {change} in {minutes} min ({way})"}
_EASY_TREND: Final = {
    "rising": "{minutes}分で {change} ふえました。",
    "falling": "{minutes}分で {change} へりました。",
    "steady": "{minutes}分で あまり かわりません。",
}
_WAYS: Final = {
    "ja": {"rising": "上昇中", "falling": "下降中", "steady": "ほぼ横ばい"},
    "en": {"rising": "rising", "falling": "falling", "steady": "steady"},
}
_ARROWS: Final = {"rising": "↑", "falling": "↓", "steady": "→"}
_ANSWER: Final = {
    "ja": "次にすること: 警報対応の画面で「確認」を押し、誰が対応するかを示す",
    "en": "Next: acknowledge it on the page of alarms, so that all see who deals with it",
}
_LOOK: Final = {
    "ja": "次にすること: 現地やカメラ、他の観測局で水位を確かめる",
    "en": "Next: find out the level at the place, by camera or from other stations",
}
_PAGE: Final = {"ja": "画面: {page}", "en": "Page: {page}"}


def trend_lines(step: Step, language: str) -> list[str]:
    """Where the level is going, as a line; none when that is not known."""
    trend = step.get("trend")
    if trend is None:
        return []
    way = _way(step, trend)
    change, minutes = quantity(abs(trend["change"]), step["unitCode"]), round(trend["seconds"] / 60)
    signed = ("-" if trend["change"] < 0 else "+") + change
    if language == "ja-easy":
        return [_EASY_TREND[way].format(minutes=minutes, change=change)]
    if language in _TREND:
        return [_TREND[language].format(minutes=minutes, change=signed, way=_WAYS[language][way])]
    return [f"{_ARROWS[way]} {signed} / {minutes} min"]


def next_lines(step: Step, language: str) -> list[str]:
    """What to do next, and where; in languages of catalogues and in easy Japanese only where."""
    page = step.get("page")
    if page is None:
        return []
    lines = []
    if language in _ANSWER:
        is_unknown = step["kind"] == "silent" or step.get("unknown") or step["stage"] == NO_DATA
        lines += [_ANSWER[language]] if step["kind"] in _TO_ANSWER else []
        lines += [_LOOK[language]] if is_unknown and step["kind"] in _TO_ANSWER | {"silent"} else []
    return lines + ([_PAGE.get(language, "{page}").format(page=page)] if page else [])


def _way(step: Step, trend: Mapping[str, float]) -> str:
    an_hour = trend["change"] / trend["seconds"] * 3600
    if abs(an_hour) < (_STEADY_M_PER_H if step["unitCode"] == "MTR" else 1e-9):
        return "steady"
    return "rising" if an_hour > 0 else "falling"
