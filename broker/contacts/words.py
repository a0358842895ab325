# SPDX-License-Identifier: Apache-2.0
"""What people are told about a step of an alarm: a short line and a few sentences, in each language.

A sensor informs, it never orders: the words of evacuation orders are not here. Times are those of the contact's zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Any, Final

from broker.alerts.drills import EXERCISE_MARKS
from broker.alerts.gateways import gateway_in
from broker.alerts.messages import forecast_in, forecast_words, level_names, quantity, time_ja
from broker.contacts.catalogues import Catalogue, catalogue_of
from broker.contacts.outlook import next_lines, trend_lines
from broker.contacts.people import Language
from broker.times import parse_time
from schemas.stages import NO_DATA, STAGE_BY_CODE

Step = Mapping[str, Any]  # broker.alerts.steps.step_document


@dataclass(frozen=True, slots=True)
class Words:
    """A message: ``subject`` is one line, ``text`` has several."""

    subject: str
    text: str


_TEST: Final[dict[Language, tuple[str, str]]] = {
    "ja": ("【試験】", "{name} あての試験送信です。実際の警報ではありません。"),
    "ja-easy": ("【れんしゅう】", "これは れんしゅうです。ほんとうの お知らせでは ありません。"),
    "en": ("[TEST] ", "This is a test for {name}. It is no real alert."),
}
_DIGEST: Final[dict[Language, str]] = {
    "ja": "【まとめ】{count} 件のお知らせ",
    "ja-easy": "【まとめ】お知らせが {count} こ あります",
    "en": "[Digest] {count} messages",
}
_DRILL: Final[dict[Language, tuple[str, str]]] = {
    "ja": ("【訓練】", "これは訓練です。実際の警報ではありません。"),
    "ja-easy": ("【くんれん】", "これは くんれん（れんしゅう）です。ほんとうの お知らせでは ありません。"),
    "en": ("[EXERCISE] ", "This is an exercise. It is no real alert."),
}
_WHAT_JA: Final = {
    "raised": "到達",
    "escalated": "上昇して到達",
    "downgraded": "ここまで低下",
    "cleared": "解除",
    "withdrawn": "取り下げ",
    "silent": "データなし（水位不明）",
    "returned": "データが再び届いています",
    "unacknowledged": "まだ確認がありません",
    "acknowledged": "確認されました",
    "shelved": "保留されました",
    "unshelved": "保留が終わりました",
}
_WHAT_EASY: Final = {
    "raised": "川の 水が 多く なりました",
    "escalated": "川の 水が もっと 多く なりました",
    "downgraded": "川の 水が 少し へりました",
    "cleared": "川の 水が へりました。おわりです",
    "withdrawn": "この お知らせは とりけしました",
    "silent": "川の 水が わかりません",
    "returned": "川の 水が また わかります",
    "unacknowledged": "まだ だれも 見て いません",
    "acknowledged": "人が 見ました",
    "shelved": "しばらく お知らせを とめます",
    "unshelved": "お知らせを また はじめます",
}
_WHAT_EN: Final = {
    "raised": "reached",
    "escalated": "risen to this level",
    "downgraded": "fallen to this level",
    "cleared": "cleared",
    "withdrawn": "withdrawn",
    "silent": "no data (level unknown)",
    "returned": "data are back",
    "unacknowledged": "not acknowledged",
    "acknowledged": "acknowledged",
    "shelved": "shelved",
    "unshelved": "no longer shelved",
}
_NO_DATA_RAISED: Final[dict[Language, str]] = {
    "ja": _WHAT_JA["silent"],
    "ja-easy": _WHAT_EASY["silent"],
    "en": _WHAT_EN["silent"],
}
_AHEAD: Final[dict[Language, str]] = {
    "ja": "予測を含む条件に該当",
    "ja-easy": "川の 水が 多く なるかも しれません",
    "en": "condition with a forecast met",
}


def words_of(step: Step, language: Language, zone: tzinfo) -> Words:
    """What to say about ``step``. Of a drill everything begins with its mark."""
    words = _writer(language)(step, zone)
    if not step.get("exercise"):
        return words
    mark, sentence = _exercise(language)
    subject = words.subject
    for known in EXERCISE_MARKS:  # the names of its stations carry it too; once is enough in a short line
        subject = subject.replace(known, "")
    return Words(mark + subject, f"{sentence}\n{words.text}")


def words_of_many(steps: Sequence[Step], language: Language, zone: tzinfo) -> Words:
    """One message about one or several steps, in their order."""
    if len(steps) == 1:
        return words_of(steps[0], language, zone)
    lines = [f"{_clock(step['at'], zone)} {words_of(step, language, zone).subject}" for step in steps]
    return Words(_digest(language).format(count=len(steps)), "\n".join(lines))


def test_marked(words: Words, language: Language) -> Words:
    """The same as a test: whatever reads it has to see that it is none in earnest."""
    mark = _test(language)[0]
    return Words(mark + words.subject, mark + words.text)


def test_words(name: str, language: Language) -> Words:
    """What a test of a contact's channels says."""
    mark, text = _test(language)
    return Words(f"{mark}みなも Minamo", text.format(name=name))


def _writer(language: Language) -> Callable[[Step, tzinfo], Words]:
    """Who writes in ``language``. One that nobody knows any more is told in English: it has to be told."""
    if language in _WRITERS:
        return _WRITERS[language]
    catalogue = catalogue_of(language)
    return _english if catalogue is None else partial(_catalogued, catalogue)


def _exercise(language: Language) -> tuple[str, str]:
    catalogue = catalogue_of(language)
    return (
        _DRILL.get(language, _DRILL["en"]) if catalogue is None else (catalogue.exercise.mark, catalogue.exercise.text)
    )


def _test(language: Language) -> tuple[str, str]:
    catalogue = catalogue_of(language)
    return _TEST.get(language, _TEST["en"]) if catalogue is None else (catalogue.test.mark, catalogue.test.text)


def _digest(language: Language) -> str:
    catalogue = catalogue_of(language)
    return _DIGEST.get(language, _DIGEST["en"]) if catalogue is None else catalogue.digest


def _happening(step: Step, words: Mapping[str, str], language: Language) -> str:
    if step["stage"] == NO_DATA and step["kind"] in ("raised", "escalated"):
        return _NO_DATA_RAISED[language]
    if _ahead(step) is not None:
        return _AHEAD[language]
    return words[step["kind"]]


def _ahead(step: Step) -> Mapping[str, Any] | None:
    """The forecast by which a stage is raised: nobody has measured that it is reached."""
    return forecast_in(step.get("measures", ())) if step["kind"] in ("raised", "escalated") else None


def _japanese(step: Step, zone: tzinfo) -> Words:
    stage, _ = level_names(STAGE_BY_CODE[step["stage"]])
    station = step["stationName"]["ja"]
    river = f"（{step['river']['ja']}）" if step.get("river") else ""
    lines = [f"{station}{river}"]
    if (value := _measured(step)) is not None:
        threshold = step.get("threshold")
        beside = "" if threshold is None else f"（基準 {quantity(threshold, step['unitCode'])}）"
        lines.append(f"水位: {value}{beside}  {time_ja(parse_time(step['observedAt']).astimezone(zone))} 観測")
    lines += trend_lines(step, "ja")
    lines.append(f"段階: {stage}" + (f"（前回 {_name(step['previousStage'])[0]}）" if _has_changed(step) else ""))
    if (ahead := _ahead(step)) is not None:
        lines.append(forecast_words(ahead, step["unitCode"], zone)[0])
    if (gateway := gateway_in(step.get("measures", ()))) is not None:
        lines.append(f"中継機 {gateway['gateway']} を通して聞こえる {gateway['value']} 局のデータが届いていません。")
    if step["kind"] == "silent" or step.get("unknown"):
        lines.append("データが届いていません。現在の水位は不明です。平常とは限りません。")
    if step.get("unstable"):
        lines.append("水位が基準の前後で上下を繰り返しています。")
    if step.get("suspect"):
        lines.append("この観測値には疑いがあります。現地や他の観測局で確かめてください。")
    lines += _by_people(step, "対応: {by}", "理由: {reason}")
    lines += next_lines(step, "ja")
    lines.append(f"{time_ja(parse_time(step['at']).astimezone(zone))} 送信  番号 {step['alarmId']}")
    return Words(f"【{stage}】{station}：{_happening(step, _WHAT_JA, 'ja')}", "\n".join(lines))


def _easy(step: Step, zone: tzinfo) -> Words:
    """やさしい日本語: short sentences, words with spaces between, no bare kanji compounds that can be avoided."""
    station = step["stationName"]["ja"]
    what = _happening(step, _WHAT_EASY, "ja-easy")
    lines = [f"ばしょ: {station}", f"{what}。"]
    if (value := _measured(step)) is not None:
        at = parse_time(step["observedAt"]).astimezone(zone)
        lines.append(f"水の 高さ: {value}（{at.month}月{at.day}日 {at:%H:%M}）")
    lines += trend_lines(step, "ja-easy")
    if step["kind"] in ("raised", "escalated", "unacknowledged") and step["stage"] != NO_DATA:
        lines.append("川の 近くに 行かないで ください。")
    if step["kind"] == "silent" or step.get("unknown"):
        lines.append("安全か どうか わかりません。気を つけて ください。")
    lines += next_lines(step, "ja-easy")
    return Words(f"{station}：{what}", "\n".join(lines))


def _english(step: Step, zone: tzinfo) -> Words:
    _, stage = level_names(STAGE_BY_CODE[step["stage"]])
    station = step["stationName"]["en"]
    river = f" ({step['river']['en']})" if step.get("river") else ""
    lines = [f"{station}{river}"]
    if (value := _measured(step)) is not None:
        threshold = step.get("threshold")
        beside = "" if threshold is None else f" (threshold {quantity(threshold, step['unitCode'])})"
        at = parse_time(step["observedAt"]).astimezone(zone)
        lines.append(f"Level: {value}{beside}, observed {at:%Y-%m-%d %H:%M} {at.tzname()}")
    lines += trend_lines(step, "en")
    lines.append(f"Stage: {stage}" + (f" (before: {_name(step['previousStage'])[1]})" if _has_changed(step) else ""))
    if (ahead := _ahead(step)) is not None:
        lines.append(forecast_words(ahead, step["unitCode"], zone)[1])
    if (gateway := gateway_in(step.get("measures", ()))) is not None:
        lines.append(f"Nothing is heard from the {gateway['value']} stations of gateway {gateway['gateway']}.")
    if step["kind"] == "silent" or step.get("unknown"):
        lines.append("Nothing is heard. The present level is unknown, which does not mean calm.")
    if step.get("unstable"):
        lines.append("The level keeps going up and down around the threshold.")
    if step.get("suspect"):
        lines.append("This reading is doubtful. Please look at the place or at other stations.")
    lines += _by_people(step, "By: {by}", "Reason: {reason}")
    lines += next_lines(step, "en")
    sent = parse_time(step["at"]).astimezone(zone)
    lines.append(f"Sent {sent:%Y-%m-%d %H:%M} {sent.tzname()}, number {step['alarmId']}")
    return Words(f"[{stage}] {station}: {_happening(step, _WHAT_EN, 'en')}", "\n".join(lines))


def _catalogued(words: Catalogue, step: Step, zone: tzinfo) -> Words:
    """In the words of a catalogue; places have the names that they have in English."""
    stage = words.stages[step["stage"]]
    station = step["stationName"]["en"]
    lines = [f"{station} ({step['river']['en']})" if step.get("river") else station]
    if (value := _measured(step)) is not None:
        threshold = step.get("threshold")
        beside = "" if threshold is None else words.line("threshold", value=quantity(threshold, step["unitCode"]))
        observed = words.line("observed", time=_moment(step["observedAt"], zone))
        lines.append(words.line("level", value=value) + beside + observed)
    lines += trend_lines(step, words.language)
    before = words.line("before", stage=words.stages[step["previousStage"]]) if _has_changed(step) else ""
    lines.append(words.line("stage", stage=stage) + before)
    if (gateway := gateway_in(step.get("measures", ()))) is not None:
        lines.append(words.line("gateway", gateway=gateway["gateway"], count=gateway["value"]))
    is_so = {
        "ahead": _ahead(step) is not None,
        "unknown": step["kind"] == "silent" or step.get("unknown"),
        "unstable": step.get("unstable"),
        "doubtful": step.get("suspect"),
    }
    lines += [words.line(name) for name, holds in is_so.items() if holds]
    lines += _by_people(step, words.lines["by"], words.lines["reason"])
    lines += next_lines(step, words.language)
    lines.append(words.line("sent", time=_moment(step["at"], zone), number=step["alarmId"]))
    return Words(f"[{stage}] {station}: {_what(words, step)}", "\n".join(lines))


def _what(words: Catalogue, step: Step) -> str:
    if step["stage"] == NO_DATA and step["kind"] in ("raised", "escalated"):
        return words.what["silent"]
    return words.what["ahead" if _ahead(step) is not None else step["kind"]]


def _moment(at: str, zone: tzinfo) -> str:
    moment = parse_time(at).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"


_WRITERS: Final[Mapping[Language, Callable[[Step, tzinfo], Words]]] = {
    "ja": _japanese,
    "ja-easy": _easy,
    "en": _english,
}


def _measured(step: Step) -> str | None:
    """The level that the step is about; silence has none that would be true now."""
    if step.get("value") is None or step["kind"] in ("silent",) or step.get("bySilence"):
        return None
    return quantity(step["value"], step["unitCode"])


def _has_changed(step: Step) -> bool:
    return step.get("previousStage") is not None and step["previousStage"] != step["stage"]


def _name(code: str) -> tuple[str, str]:
    return level_names(STAGE_BY_CODE[code])


def _by_people(step: Step, by: str, reason: str) -> list[str]:
    lines = []
    if step.get("by"):
        lines.append(by.format(by=step["by"]))
    if step.get("reason"):
        lines.append(reason.format(reason=step["reason"]))
    return lines


def _clock(at: str, zone: tzinfo) -> str:
    moment: datetime = parse_time(at).astimezone(zone)
    return f"{moment:%m-%d %H:%M}"
