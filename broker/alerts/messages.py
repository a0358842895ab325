# SPDX-License-Identifier: Apache-2.0
"""What an alert says: the document that staff, webhooks and the event stream get, in Japanese and English.

A sensor informs, it never orders. The sentences name the place, the level, the named threshold and the time of
observation; the words of evacuation orders belong to the mayor and never appear here. Clock times are Japan
Standard Time unless told otherwise; times in the machine-readable members are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from urllib.parse import quote

from broker.alerts.gateways import gateway_in
from broker.alerts.rules import AlertRule
from broker.alerts.states import AlertDecision
from broker.entities import AttributeKind, ExpandedEntity
from broker.times import parse_time, to_text
from schemas.stages import STAGE_BY_CODE, Stage
from schemas.terms import DEFAULT_VOCABULARY, NGSI_LD, NO_DATASET

JST: Final = timezone(timedelta(hours=9), "JST")

_URN: Final = "urn:ngsi-ld:"
_NAMES: Final = (NGSI_LD + "title", "https://smartdatamodels.org/name", DEFAULT_VOCABULARY + "name")
_RIVERS: Final = (DEFAULT_VOCABULARY + "river", DEFAULT_VOCABULARY + "riverName")
_SYMBOLS: Final = {"MTR": "m", "CMT": "cm", "MMT": "mm", "DMT": "dm", "FOT": "ft", "INH": "in"}


@dataclass(frozen=True, slots=True)
class Place:
    """The station an alert speaks of: entity id, names, GeoJSON geometry (WGS 84) and river where known."""

    entity_id: str
    name_ja: str
    name_en: str
    location: dict[str, Any] | None = None
    river_ja: str | None = None
    river_en: str | None = None


def place_of(entity: ExpandedEntity) -> Place:
    """The place that ``entity`` describes: its ``title`` or ``name`` (one language or several), else its id."""
    name_ja, name_en = _names(entity, _NAMES) or (entity.id, entity.id)
    river_ja, river_en = _names(entity, _RIVERS) or (None, None)
    return Place(entity.id, name_ja, name_en, entity.location(), river_ja, river_en)


def _names(entity: ExpandedEntity, attributes: tuple[str, ...]) -> tuple[str, str] | None:
    """The first of ``attributes`` that is a text, in Japanese and in English; one stands in for the other."""
    for attribute in attributes:
        instance = entity.attributes.get(attribute, {}).get(NO_DATASET, {})
        if instance.get("type") == AttributeKind.LANGUAGE_PROPERTY:
            names = {tag.lower()[:2]: _first(name) for tag, name in reversed(instance["languageMap"].items())}
            name_ja = names.get("ja") or names.get("en") or next(iter(names.values()), "")
            if name_ja:
                return name_ja, names.get("en") or name_ja
        elif isinstance(instance.get("value"), str) and instance["value"].strip():
            return instance["value"], instance["value"]
    return None


def alert_id(entity_id: str, rule_id: str, stage: str, raised_at: datetime) -> str:
    """The id of an alert, the same whenever it is computed: ``urn:ngsi-ld:Alert:<entity>:<rule>:<stage>:<time>``.

    Two alerts never share one: rule ids and stages hold no colon, and only ids that are no ``urn:ngsi-ld:`` have
    theirs percent-encoded.
    """
    entity = quote(entity_id.removeprefix(_URN), safe=":") if entity_id.startswith(_URN) else quote(entity_id, safe="")
    time = to_text(raised_at).replace("-", "").replace(":", "")
    return f"{_URN}Alert:{entity}:{rule_id}:{stage}:{time}"


def alert_message(decision: AlertDecision, rule: AlertRule, place: Place, zone: tzinfo = JST) -> dict[str, Any]:
    """The document of one raise or clear (table ``alert_event``, webhook, event stream), JSON throughout.

    ``observedAt`` is the time of the sample that decided, ``clearedAt`` null while raised; ``stagesCrossed`` are
    the codes of all stages that this sample raised (or cleared) at once, lowest first.
    """
    stage = STAGE_BY_CODE[decision.stage]
    is_cleared = decision.kind == "cleared"
    headline_ja, headline_en = headlines(decision, rule, place)
    description_ja, description_en = descriptions(decision, rule, place, zone)
    return {
        "id": alert_id(place.entity_id, rule.id, decision.stage, decision.raised_at),
        "kind": decision.kind,
        "status": decision.kind,
        "ruleId": rule.id,
        "entityId": place.entity_id,
        "stationName": place.name_ja,
        "stationNameEn": place.name_en,
        "location": place.location,
        "attribute": rule.attribute,
        "stage": stage.code,
        "stageNameJa": stage.name_ja,
        "stageNameEn": stage.name_en,
        "severity": stage.severity,
        "threshold": decision.threshold,
        "value": decision.value,
        "peakValue": decision.peak_value,
        "unitCode": rule.unit_code,
        "observedAt": to_text(decision.observed_at),
        "raisedAt": to_text(decision.raised_at),
        "clearedAt": to_text(decision.observed_at) if is_cleared else None,
        "withdrawn": decision.withdrawn,
        "stagesCrossed": list(decision.stages_crossed),
        "measures": [dict(measure) for measure in decision.measures],
        "suspect": decision.suspect,
        "unstable": decision.unstable,
        "bySilence": decision.by_silence,
        "ruleNameJa": rule.name_ja,
        "ruleNameEn": rule.name_en,
        "reference": rule.reference,
        "zeroPoint": rule.zero_point,
        "headlineJa": headline_ja,
        "headlineEn": headline_en,
        "descriptionJa": description_ja,
        "descriptionEn": description_en,
    }


def headlines(decision: AlertDecision, rule: AlertRule, place: Place) -> tuple[str, str]:
    """One short line in Japanese and in English: place, named threshold, what happened."""
    if (gateway := gateway_in(decision.measures)) is not None:
        name, count = gateway["gateway"], gateway["value"]
        return f"中継機 {name}：{count} 局のデータが届いていません", f"Gateway {name}: {count} stations are not heard"
    stage_ja, stage_en = _goal(decision, rule)
    ja, en = {
        "raised": ("に到達", "reached"),
        "cleared": ("を下回る", "no longer reached"),
        "met": ("に該当", "met"),
        "over": ("に該当しなくなる", "no longer met"),
        "lost": ("：データが届いていません", ", nothing is heard"),
        "heard": ("：データが再び届いています", ", heard again"),
        "withdrawn": ("のアラートを取り下げ", "alert withdrawn"),
    }[_happening(decision)]
    return f"{place.name_ja}：{stage_ja}{ja}", f"{place.name_en}: {stage_en}{en if en[0] == ',' else ' ' + en}"


def descriptions(decision: AlertDecision, rule: AlertRule, place: Place, zone: tzinfo = JST) -> tuple[str, str]:
    """What happened, in full sentences, in Japanese and in English."""
    if decision.withdrawn:
        return _withdrawn(decision, rule, place)
    time = decision.observed_at.astimezone(zone)
    if decision.by_silence:
        return _silence(decision, rule, place, time)
    value = quantity(decision.value, rule.unit_code)
    begin_ja = f"{place.name_ja}の水位は、{time_ja(time)}の観測で {value} となり、"
    begin_en = f"{place.name_en}: the water level observed at {time:%Y-%m-%d %H:%M} {time.tzname()} is {value} and has "
    end_ja, end_en = (_reached if decision.kind == "raised" else _fallen)(decision, rule)
    return begin_ja + end_ja, begin_en + end_en


def _happening(decision: AlertDecision) -> str:
    if decision.withdrawn:
        return "withdrawn"
    if decision.by_silence:
        return "lost" if decision.kind in ("raised", "silent") else "heard"
    if decision.threshold is None:
        return "met" if decision.kind == "raised" else "over"
    return decision.kind


def _goal(decision: AlertDecision, rule: AlertRule) -> tuple[str, str]:
    """What was reached: a named threshold, or the condition in its place."""
    stage_ja, stage_en = level_names(STAGE_BY_CODE[decision.stage])
    if decision.by_silence:
        return stage_ja, stage_en
    if decision.threshold is None:
        ahead = forecast_in(decision.measures) is not None
        ja, en = ("、予測を含む", ", with a forecast") if ahead else ("", "")
        return f"{stage_ja}の条件（{rule.name_ja}{ja}）", f"condition for the {stage_en} ({rule.name_en}{en})"
    threshold = quantity(decision.threshold, rule.unit_code)
    return f"{stage_ja}（{threshold}）", f"{stage_en} ({threshold})"


def _silence(decision: AlertDecision, rule: AlertRule, place: Place, time: datetime) -> tuple[str, str]:
    """Nothing is heard, or heard again. What the water does meanwhile is not known, and that is what it says."""
    value = quantity(decision.value, rule.unit_code)
    when_en = f"{time:%Y-%m-%d %H:%M} {time.tzname()}"
    if _happening(decision) == "heard":
        return (
            f"{place.name_ja}のデータが再び届いています（{time_ja(time)}、{value}）。",
            f"{place.name_en} is heard again ({when_en}, {value}).",
        )
    if (gateway := gateway_in(decision.measures)) is not None:
        return _silent_gateway(gateway, place, time_ja(time), when_en)
    return (
        f"{place.name_ja}のデータが届いていません（{time_ja(time)} 判定）。"
        f"現在の水位は不明です。最後の観測値は {value} です。",
        f"Nothing is heard from {place.name_en} (judged at {when_en}). The present level is unknown. The last observed "
        f"level is {value}.",
    )


def _silent_gateway(gateway: Mapping[str, Any], place: Place, when_ja: str, when_en: str) -> tuple[str, str]:
    """One message for all stations that are heard through it."""
    name, count = gateway["gateway"], gateway["value"]
    return (
        f"中継機 {name} を通して聞こえる {count} 局のデータが届いていません（{when_ja} 判定、{place.name_ja}ほか）。"
        "現在の水位は不明です。中継機の電源と回線を確かめてください。",
        f"Nothing is heard from the {count} stations of gateway {name} (judged at {when_en}; {place.name_en} and "
        "others). The present levels are unknown. Look at its power and its connection.",
    )


def _reached(decision: AlertDecision, rule: AlertRule) -> tuple[str, str]:
    if decision.threshold is None:
        return _met(decision, rule)
    stage_ja, stage_en = level_names(STAGE_BY_CODE[decision.stage])
    threshold = quantity(decision.threshold, rule.unit_code)
    ja = f"{stage_ja}（{threshold}）に達しました。"
    en = f"reached the {stage_en} ({threshold})."
    if len(decision.stages_crossed) > 1:
        stages = [STAGE_BY_CODE[code] for code in decision.stages_crossed]
        ja += f"一度に次の段階に達しました：{'、'.join(stage.name_ja for stage in stages)}。"
        en += f" Reached at once: {', '.join(stage.name_en for stage in stages)}."
    return ja, en


def _met(decision: AlertDecision, rule: AlertRule) -> tuple[str, str]:
    goal_ja, goal_en = _goal(decision, rule)
    ja, en = f"{goal_ja}に該当しました。", f"met the {goal_en}."
    if (ahead := forecast_in(decision.measures)) is not None:
        said_ja, said_en = forecast_words(ahead, rule.unit_code)
        return ja + said_ja, f"{en} {said_en}"
    return ja, en


def forecast_in(measures: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of what a condition compared, the forecast that reaches its limit; None when nothing of the kind decided."""
    return next((one for one in measures if one["kind"] == "forecast" and one.get("reachedAt")), None)


def forecast_words(measure: Mapping[str, Any], unit_code: str, zone: tzinfo = JST) -> tuple[str, str]:
    """What a model says, when it said so, and that nobody has measured it."""
    reached, issued = (parse_time(measure[name]).astimezone(zone) for name in ("reachedAt", "issuedAt"))
    limit, highest = (quantity(measure[name], unit_code) for name in ("limit", "value"))
    return (
        f"モデル {measure['model']}（{time_ja(issued)} 計算）では、{time_ja(reached)} ごろ {limit} を超え、"
        f"最大 {highest} の見込みです。計算値であり、観測値ではありません。",
        f"Model {measure['model']} (run of {issued:%Y-%m-%d %H:%M} {issued.tzname()}) exceeds {limit} at about "
        f"{reached:%Y-%m-%d %H:%M}, at most {highest}. This is computed, not measured.",
    )


def _fallen(decision: AlertDecision, rule: AlertRule) -> tuple[str, str]:
    if decision.threshold is None:
        goal_ja, goal_en = _goal(decision, rule)
        return f"{goal_ja}に該当しなくなりました。", f"ceased to meet the {goal_en}."
    stage_ja, stage_en = level_names(STAGE_BY_CODE[decision.stage])
    threshold = quantity(decision.threshold, rule.unit_code)
    peak = quantity(decision.peak_value, rule.unit_code)
    minutes = rule.clear_after.total_seconds() / 60
    lasting_ja, lasting_en = (f"（{minutes:g} 分継続）", f" for {minutes:g} minutes") if minutes else ("", "")
    return (
        f"{stage_ja}（{threshold}）を下回りました{lasting_ja}。最高水位は {peak} でした。",
        f"been below the {stage_en} ({threshold}){lasting_en}. The peak was {peak}.",
    )


def _withdrawn(decision: AlertDecision, rule: AlertRule, place: Place) -> tuple[str, str]:
    stage_ja, stage_en = level_names(STAGE_BY_CODE[decision.stage])
    value = quantity(decision.value, rule.unit_code)
    return (
        f"{place.name_ja}の{stage_ja}のアラートは、監視ルールの変更により取り下げられました。"
        f"水位の低下によるものではありません。最後の観測値は {value} です。",
        f"{place.name_en}: the alert for the {stage_en} is withdrawn because its rule was changed, "
        f"not because the level fell. The last observed level is {value}.",
    )


def level_names(stage: Stage) -> tuple[str, str]:
    """The stage as a level in a sentence. A gauge measures the level of overflow, it does not see the overflow."""
    if stage.code == "overflow":
        return f"{stage.name_ja}に相当する水位", f"level of {stage.name_en}"
    return stage.name_ja, stage.name_en


def quantity(value: float, unit_code: str) -> str:
    """``1.14 m``: two decimals, a third one where it is not zero; other units than metres as they are."""
    if unit_code != "MTR":
        return f"{value:g} {_SYMBOLS.get(unit_code, unit_code)}"
    text = f"{value:.3f}"
    return f"{text.removesuffix('0')} m"


def time_ja(time: datetime) -> str:
    """``2026年6月1日 14:05``."""
    return f"{time.year}年{time.month}月{time.day}日 {time:%H:%M}"


def _first(name: object) -> str:
    """A text of a languageMap, which may be a list of texts."""
    if isinstance(name, list):
        name = name[0] if name else ""
    return name if isinstance(name, str) else ""
