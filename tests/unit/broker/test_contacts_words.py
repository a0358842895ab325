# SPDX-License-Identifier: Apache-2.0
"""What people are told, in all languages."""

from __future__ import annotations

import re
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from broker.alerts.lifecycle import StepKind
from broker.contacts import Words, languages, read_catalogues, use_catalogues, words_of, words_of_many
from broker.contacts import test_words as words_of_test
from broker.contacts.people import Language
from broker.errors import BadRequestData
from schemas.languages import built_in_words
from schemas.stages import ALL_STAGES
from support.alarm_steps import step

JAPAN = ZoneInfo("Asia/Tokyo")
LANGUAGES: tuple[Language, ...] = tuple(languages())
KINDS = [kind for kind in get_args(StepKind) if kind != "changed"]
UNKNOWN = ("現在の水位は不明です", "わかりません", "unknown", "desconhecido", "水位不明", "Không rõ")
ORDERS = ("避難指示", "避難勧告", "緊急安全確保", "高齢者等避難", "避難してください", "にげて", "evacuate")


def said(language: Language = "ja", **members: Any) -> Words:
    return words_of(step(**members), language, JAPAN)


def test_subject_names_level_place_and_what_happened() -> None:
    assert said().subject == "【氾濫危険水位】三島大橋：到達"
    assert said("en").subject == "[flood danger level] Mishima Ohashi: reached"
    assert said("ja-easy").subject == "三島大橋：川の 水が 多く なりました"


def test_text_has_the_measured_level_its_threshold_and_both_times_by_the_clock_of_japan() -> None:
    assert said().text.splitlines() == [
        "三島大橋（大場川）",
        "水位: 1.52 m（基準 1.50 m）  2026年6月1日 14:05 観測",
        "段階: 氾濫危険水位",
        "2026年6月1日 14:05 送信  番号 levels:20260601T050500Z:0a1b2c3d",
    ]


def test_text_in_english() -> None:
    assert said("en").text.splitlines() == [
        "Mishima Ohashi (Ooba)",
        "Level: 1.52 m (threshold 1.50 m), observed 2026-06-01 14:05 JST",
        "Stage: flood danger level",
        "Sent 2026-06-01 14:05 JST, number levels:20260601T050500Z:0a1b2c3d",
    ]


def test_a_change_names_the_level_before() -> None:
    assert "段階: 氾濫危険水位（前回 氾濫注意水位）" in said(kind="escalated", previousStage="caution").text


@pytest.mark.parametrize("language", LANGUAGES)
def test_silence_has_no_level_and_is_not_calm(language: Language) -> None:
    text = said(language, kind="silent", unknown=True).text
    assert "1.52" not in text
    assert any(words in text for words in UNKNOWN)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("stage", [stage.code for stage in ALL_STAGES])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sensor_orders_nobody(kind: str, stage: str, language: Language) -> None:
    words = said(language, kind=kind, stage=stage, unknown=True, unstable=True, suspect=True)
    assert words.subject and words.text
    assert not any(order in words.subject + words.text for order in ORDERS)
    assert "\n" not in words.subject


def test_who_did_something_and_why_is_told() -> None:
    text = said(kind="shelved", by="防災課", reason="点検中").text
    assert "対応: 防災課" in text and "理由: 点検中" in text


def test_a_digest_has_a_line_for_each() -> None:
    words = words_of_many([step(), step("cleared", "caution")], "ja", JAPAN)
    assert words.subject == "【まとめ】2 件のお知らせ"
    assert words.text.splitlines() == [
        "06-01 14:05 【氾濫危険水位】三島大橋：到達",
        "06-01 14:05 【氾濫注意水位】三島大橋：解除",
    ]


@pytest.mark.parametrize(("language", "mark"), [("ja", "【訓練】"), ("ja-easy", "【くんれん】"), ("en", "[EXERCISE] ")])
def test_message_of_a_drill_begins_with_its_mark_and_carries_it_once(language: Language, mark: str) -> None:
    names = {"ja": "【訓練】三島大橋", "en": "[EXERCISE] Mishima Ohashi"}
    words = words_of(step(exercise=True, stationName=names), language, JAPAN)
    assert words.subject.startswith(mark) and words.subject.count("訓練") + words.subject.count("EXERCISE") <= 1
    assert words.text.splitlines()[0] != words_of(step(), language, JAPAN).text.splitlines()[0]


def test_every_language_has_its_own_words_for_everything() -> None:
    subjects = {said(language).subject for language in LANGUAGES}
    assert len(subjects) == len(LANGUAGES) >= 6
    assert len({words_of_test("x", language).text for language in LANGUAGES}) == len(LANGUAGES)
    assert len({words_of_many([step(), step()], language, JAPAN).subject for language in LANGUAGES}) == len(LANGUAGES)


def test_language_that_nobody_knows_any_more_is_told_in_english() -> None:
    assert said("xx") == said("en")


def test_city_adds_a_language_by_a_catalogue() -> None:
    (known,) = [one for one in built_in_words() if one["language"] == "pt"]
    try:
        use_catalogues(read_catalogues([{**known, "language": "tl", "name": "Tagalog"}]))
        assert languages()["tl"] == "Tagalog" and said("tl").text == said("pt").text
    finally:
        use_catalogues(())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"language": "ja"}, "written by hand"),
        ({"what": {"raised": "x"}}, "what: "),
        ({"digest": "no number"}, "digest: its slots are count"),
        ({"digest": "{count.__class__}"}, "digest: its slots are count"),
        ({"digest": "{count"}, "digest: its slots are count"),
        ({"extra": 1}, "extra is not known"),
    ],
)
def test_catalogue_that_is_not_whole_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData, match=re.escape(says)):
        read_catalogues([{**built_in_words()[0], **change}])
