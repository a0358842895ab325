# SPDX-License-Identifier: Apache-2.0
"""What a CAP message says of a stage, in codes and in words.

A sensor informs, it never orders. So the words of evacuation orders do not appear, and neither do the response types
``Evacuate`` and ``Shelter``, which receivers show as such orders. The warnings it points to have the names that are in
force since 2026-05-28 (level and name in one, full-width digits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from broker.alerts import JST, level_names
from broker.alerts.messages import quantity
from broker.times import parse_time
from schemas.stages import STAGE_BY_CODE

Language = Literal["ja", "easy", "en"]
LANGUAGES: Final[dict[Language, str]] = {"ja": "ja-JP", "easy": "ja-x-easy", "en": "en"}
"""One ``info`` for each, the first one first: our key and the tag of RFC 5646; ``easy`` is やさしい日本語, for which no
tag is registered."""

MARKS: Final[dict[str, dict[Language, str]]] = {
    "Actual": {"ja": "", "easy": "", "en": ""},
    "Exercise": {"ja": "【訓練】", "easy": "【れんしゅう】", "en": "[EXERCISE] "},
    "Test": {"ja": "【試験】", "easy": "【ためし】", "en": "[TEST] "},
}
"""What stands before every sentence of a message, by its status."""

_EASY: Final[dict[str, str]] = {
    "observation_start": "川の 水が ふえて います",
    "standby": "川の 水が ふえて います",
    "caution": "川の 水が 多く なりました",
    "evacuation_decision": "川の 水が とても 多く なりました",
    "critical": "川の 水が とても 多く なりました。あぶない 高さです",
    "danger": "川の 水が とても 多く なりました。あぶない 高さです",
    "overflow_start": "川の 水が、あふれる 高さに なりました。とても あぶないです",
    "overflow": "川の 水が、あふれる 高さに なりました。とても あぶないです",
}
_EASY_LESS: Final = "川の 水が へりました"
_EASY_WITHDRAWN: Final = "この お知らせは とりけしました"


@dataclass(frozen=True, slots=True)
class Classification:
    """The codes of an ``info`` (CAP 1.2, 3.2.2)."""

    severity: str
    urgency: str
    certainty: str
    response_type: str


CLASSES: Final[dict[str, Classification]] = {
    "no_data": Classification("Unknown", "Unknown", "Unknown", "Monitor"),
    "observation_start": Classification("Minor", "Future", "Observed", "Monitor"),
    "standby": Classification("Minor", "Future", "Observed", "Monitor"),
    "caution": Classification("Moderate", "Expected", "Observed", "Monitor"),
    "evacuation_decision": Classification("Severe", "Expected", "Observed", "Prepare"),
    "critical": Classification("Severe", "Immediate", "Observed", "Prepare"),
    "danger": Classification("Severe", "Immediate", "Observed", "Prepare"),
    "overflow_start": Classification("Extreme", "Immediate", "Observed", "Prepare"),
    "overflow": Classification("Extreme", "Immediate", "Observed", "Prepare"),
}
ALL_CLEAR: Final = Classification("Minor", "Past", "Observed", "AllClear")
WITHDRAWN: Final = Classification("Unknown", "Unknown", "Unknown", "Monitor")

LEVELS: Final[dict[str, int]] = {"caution": 2, "evacuation_decision": 3, "danger": 4, "overflow": 5}
"""The 警戒レベル that a stage corresponds to; the levels of 危機管理型水位計 correspond to none by definition."""

WARNINGS: Final = {
    2: "レベル２氾濫注意報",
    3: "レベル３氾濫警報",
    4: "レベル４氾濫危険警報",
    5: "レベル５氾濫特別警報",
}
"""The warnings of the authorities by level, with the names that are in force since 2026-05-28."""

_FULL_WIDTH: Final = str.maketrans("12345", "１２３４５")


def event_words(stage: str, *, is_open: bool, language: Language) -> str:
    """What kind of thing happened, short: the level of the river, and that it is over if it is."""
    name_ja, name_en = level_names(STAGE_BY_CODE[stage])
    level = LEVELS.get(stage)
    if language == "easy":
        return "川の 水の お知らせ" + ("" if is_open else " おわり")
    if language == "ja":
        equivalent = f"（レベル{level}相当）".translate(_FULL_WIDTH) if level else ""
        return f"河川水位：{name_ja}{equivalent}" + ("" if is_open else " 終了")
    equivalent = f" (equivalent to level {level})" if level else ""
    return f"River level: {name_en}{equivalent}" + ("" if is_open else ", ended")


def instruction(stage: str, language: Language) -> str:
    """Where to look now: at the warnings and at what the municipality says."""
    warning = WARNINGS.get(LEVELS.get(stage, 0))
    if language == "easy":
        return (
            "これは 機械（センサー）が はかった お知らせです。警報（けいほう）では ありません。"
            "市の お知らせと、テレビや ラジオを 見て ください。"
        )
    if language == "ja":
        example = f"（{warning}など）" if warning else ""
        return (
            f"センサーの観測のお知らせです。警報ではありません。気象庁などの警報{example}と、市区町村の情報を"
            "確認してください。"
        )
    example = f" (such as {warning})" if warning else ""
    return (
        "This reports what a sensor observed. It is no warning. Look at the warnings of the authorities"
        f"{example} and at what your municipality says."
    )


def still_open(stage: str, language: Language) -> str:
    """What to add when a stage has ended and a lower one has not."""
    name_ja, name_en = level_names(STAGE_BY_CODE[stage])
    if language == "easy":
        return "水は まだ 多いです。"
    if language == "ja":
        return f"{name_ja}のアラートは続いています。"
    return f" The alert for the {name_en} continues."


def easy_words(document: Mapping[str, Any]) -> tuple[str, str]:
    """Headline and description of an alert in やさしい日本語: short sentences, words with spaces between."""
    if document["withdrawn"]:
        what = _EASY_WITHDRAWN
    else:
        what = _EASY[document["stage"]] if document["kind"] != "cleared" else _EASY_LESS
    station = document["stationName"]
    at = parse_time(document["observedAt"]).astimezone(JST)
    height = f"水の 高さは {quantity(document['value'], document['unitCode'])} です"
    return f"{station}：{what}", f"ばしょは {station} です。{what}。{height}（{at.month}月{at.day}日 {at:%H:%M}）。"
