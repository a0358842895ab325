# SPDX-License-Identifier: Apache-2.0
"""What alerts say, and their shape as documents and as NGSI-LD entities."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.alerts import (
    AlertDecision,
    AlertRule,
    EntitySelector,
    Level,
    Place,
    alert_entity,
    alert_id,
    alert_message,
    place_of,
)
from broker.contexts.jsonld import ContextResolver
from broker.entities import VALUE_MEMBER, ExpandedEntity
from broker.expansion import expand_entity
from broker.representations import represent
from schemas.contexts import MINAMO_CONTEXT
from schemas.stages import STAGES
from schemas.terms import LOCATION

STATION = "urn:ngsi-ld:WaterObserved:22100:tomoe-7"
RAISED_AT = datetime(2026, 6, 1, 5, 5, tzinfo=UTC)
CLEARED_AT = RAISED_AT + timedelta(hours=2)
ISSUED_AT = RAISED_AT + timedelta(seconds=2)
PLACE = Place(STATION, "巴橋", "Tomoe Bridge", {"type": "Point", "coordinates": [138.4, 35.0]})
RULE = AlertRule(
    id="tomoe",
    entities=EntitySelector(ids=(STATION,)),
    attribute="https://smartdatamodels.org/dataModel.Environment/waterLevel",
    levels=(Level("caution", 0.9), Level("danger", 1.5)),
    name_ja="巴川",
    name_en="Tomoe",
)
RAISED = AlertDecision("raised", "caution", 0.9, RAISED_AT, 1.138, RAISED_AT, 1.138, ("caution",))
CLEARED = AlertDecision("cleared", "caution", 0.9, CLEARED_AT, 0.58, RAISED_AT, 1.77, ("caution",))
JUMP = replace(RAISED, stages_crossed=("caution", "danger"))
WITHDRAWN = replace(CLEARED, withdrawn=True, value=1.2)

ALERT = "https://smartdatamodels.org/dataModel.Alert/"


class TestWords:
    def test_a_raise_says_place_level_threshold_and_time(self) -> None:
        message = alert_message(RAISED, RULE, PLACE)
        assert message["headlineJa"] == "巴橋：氾濫注意水位（0.90 m）に到達"
        assert message["headlineEn"] == "Tomoe Bridge: flood caution level (0.90 m) reached"
        assert message["descriptionJa"] == (
            "巴橋の水位は、2026年6月1日 14:05の観測で 1.138 m となり、氾濫注意水位（0.90 m）に達しました。"
        )
        assert message["descriptionEn"] == (
            "Tomoe Bridge: the water level observed at 2026-06-01 14:05 JST is 1.138 m "
            "and has reached the flood caution level (0.90 m)."
        )

    def test_a_jump_says_which_stages_were_reached_at_once(self) -> None:
        message = alert_message(JUMP, RULE, PLACE)
        assert message["descriptionJa"].endswith("一度に次の段階に達しました：氾濫注意水位、氾濫危険水位。")
        assert message["descriptionEn"].endswith("Reached at once: flood caution level, flood danger level.")

    def test_a_clear_says_how_long_below_and_the_peak(self) -> None:
        message = alert_message(CLEARED, RULE, PLACE)
        assert message["headlineJa"] == "巴橋：氾濫注意水位（0.90 m）を下回る"
        assert message["descriptionJa"] == (
            "巴橋の水位は、2026年6月1日 16:05の観測で 0.58 m となり、"
            "氾濫注意水位（0.90 m）を下回りました（30 分継続）。最高水位は 1.77 m でした。"
        )
        assert message["descriptionEn"] == (
            "Tomoe Bridge: the water level observed at 2026-06-01 16:05 JST is 0.58 m and has been "
            "below the flood caution level (0.90 m) for 30 minutes. The peak was 1.77 m."
        )

    def test_a_withdrawal_does_not_claim_that_the_level_fell(self) -> None:
        message = alert_message(WITHDRAWN, RULE, PLACE)
        assert "水位の低下によるものではありません" in message["descriptionJa"]
        assert "not because the level fell" in message["descriptionEn"]

    def test_overflow_is_told_as_a_level_not_as_seen(self) -> None:
        message = alert_message(replace(RAISED, stage="overflow"), RULE, PLACE)
        assert message["headlineJa"] == "巴橋：氾濫発生に相当する水位（0.90 m）に到達"

    def test_other_units_are_shown_as_they_are(self) -> None:
        message = alert_message(replace(RAISED, threshold=20.0), replace(RULE, unit_code="CMT"), PLACE)
        assert message["headlineEn"] == "Tomoe Bridge: flood caution level (20 cm) reached"

    @pytest.mark.parametrize("stage", [stage.code for stage in STAGES])
    @pytest.mark.parametrize("decision", [RAISED, JUMP, CLEARED, WITHDRAWN])
    def test_no_alert_ever_gives_an_evacuation_order(self, decision: AlertDecision, stage: str) -> None:
        text = json.dumps(alert_message(replace(decision, stage=stage), RULE, PLACE), ensure_ascii=False)
        assert not re.search("避難指示|高齢者等避難|緊急安全確保|避難勧告|警戒レベル|避難してください", text)


class TestMessage:
    def test_members_of_a_raise(self) -> None:
        message = alert_message(JUMP, RULE, PLACE)
        words = {name for name in message if name.startswith(("headline", "description"))}
        assert {name: value for name, value in message.items() if name not in words} == {
            "id": "urn:ngsi-ld:Alert:WaterObserved:22100:tomoe-7:tomoe:caution:20260601T050500Z",
            "kind": "raised",
            "status": "raised",
            "ruleId": "tomoe",
            "entityId": STATION,
            "stationName": "巴橋",
            "stationNameEn": "Tomoe Bridge",
            "location": {"type": "Point", "coordinates": [138.4, 35.0]},
            "attribute": RULE.attribute,
            "stage": "caution",
            "stageNameJa": "氾濫注意水位",
            "stageNameEn": "flood caution level",
            "severity": "medium",
            "threshold": 0.9,
            "value": 1.138,
            "peakValue": 1.138,
            "unitCode": "MTR",
            "observedAt": "2026-06-01T05:05:00Z",
            "raisedAt": "2026-06-01T05:05:00Z",
            "clearedAt": None,
            "withdrawn": False,
            "stagesCrossed": ["caution", "danger"],
            "measures": [],
            "suspect": False,
            "unstable": False,
            "bySilence": False,
            "ruleNameJa": "巴川",
            "ruleNameEn": "Tomoe",
            "reference": "gauge",
            "zeroPoint": None,
        }

    def test_a_clear_has_the_id_of_its_raise(self) -> None:
        raised, cleared = alert_message(RAISED, RULE, PLACE), alert_message(CLEARED, RULE, PLACE)
        assert raised["id"] == cleared["id"]
        assert (cleared["status"], cleared["clearedAt"]) == ("cleared", "2026-06-01T07:05:00Z")


class TestId:
    def test_ids_that_are_no_urn_are_encoded(self) -> None:
        made = alert_id("https://example.org/駅/1", "r", "danger", RAISED_AT)
        assert made == "urn:ngsi-ld:Alert:https%3A%2F%2Fexample.org%2F%E9%A7%85%2F1:r:danger:20260601T050500Z"

    ENTITIES = st.one_of(
        st.from_regex(r"\Aurn:ngsi-ld:[A-Za-z:%]{1,6}\Z"), st.from_regex(r"\A[A-Za-z]{1,3}:[a-z:%]{1,6}\Z")
    )
    KEYS = st.tuples(ENTITIES, st.from_regex(r"\A[A-Za-z0-9][a-z.-]{0,3}\Z"), st.sampled_from(["danger", "caution"]))

    @given(KEYS, KEYS)
    def test_two_alerts_never_share_an_id(self, one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
        assert (alert_id(*one, RAISED_AT) == alert_id(*other, RAISED_AT)) == (one == other)


class TestPlace:
    def place(self, attribute: str, instance: dict[str, Any]) -> tuple[str, str]:
        found = place_of(ExpandedEntity(STATION, ("urn:x:T",), {attribute: {"@none": instance}}))
        return found.name_ja, found.name_en

    def test_the_title_names_it(self) -> None:
        title = {"type": "Property", "value": "巴橋"}
        assert self.place("https://uri.etsi.org/ngsi-ld/title", title) == ("巴橋", "巴橋")

    def test_a_name_in_two_languages(self) -> None:
        names = {"type": "LanguageProperty", "languageMap": {"en": "Tomoe Bridge", "ja": ["巴橋"]}}
        assert self.place("https://smartdatamodels.org/name", names) == ("巴橋", "Tomoe Bridge")

    def test_without_a_name_its_id_names_it(self) -> None:
        assert self.place("https://smartdatamodels.org/name", {"type": "Property", "value": ""}) == (STATION, STATION)


class TestEntity:
    def entity(self, decision: AlertDecision, now: datetime = ISSUED_AT, place: Place = PLACE) -> ExpandedEntity:
        return alert_entity(decision, RULE, place, issued_at=ISSUED_AT, now=now)

    def value(self, entity: ExpandedEntity, attribute: str) -> Any:
        instance = entity.attributes[attribute]["@none"]
        return instance[VALUE_MEMBER[instance["type"]]]

    def test_it_has_the_shape_of_the_smart_data_model(self) -> None:
        entity = self.entity(RAISED)
        assert entity.types == (ALERT + "Alert",)
        assert self.value(entity, ALERT + "category") == "naturalDisaster"
        assert self.value(entity, ALERT + "subCategory") == "flood"
        assert self.value(entity, ALERT + "severity") == "medium"
        assert self.value(entity, ALERT + "dateIssued") == {"@type": "DateTime", "@value": "2026-06-01T05:05:02Z"}
        assert entity.attributes[ALERT + "alertSource"]["@none"]["type"] == "Relationship"
        assert self.value(entity, ALERT + "alertSource") == STATION
        assert self.value(entity, LOCATION) == PLACE.location

    def test_it_is_valid_from_the_raise(self) -> None:
        entity = self.entity(RAISED)
        valid_from = self.value(entity, "https://smartdatamodels.org/validFrom")
        assert valid_from == {"@type": "DateTime", "@value": "2026-06-01T05:05:00Z"}
        assert ALERT + "validTo" not in entity.attributes

    def test_the_clear_ends_the_same_entity(self) -> None:
        entity = self.entity(CLEARED, now=CLEARED_AT)
        assert entity.id == self.entity(RAISED).id
        assert self.value(entity, ALERT + "validTo") == {"@type": "DateTime", "@value": "2026-06-01T07:05:00Z"}
        assert self.value(entity, "https://uri.etsi.org/ngsi-ld/status") == "cleared"
        assert (entity.created_at, entity.modified_at) == (ISSUED_AT, CLEARED_AT)

    def test_data_is_json_for_programs(self) -> None:
        data = self.value(self.entity(CLEARED), "https://uri.etsi.org/ngsi-ld/data")
        assert (data["stage"], data["threshold"], data["value"], data["peak"]) == ("caution", 0.9, 0.58, 1.77)

    def test_description_is_in_two_languages(self) -> None:
        words = self.value(self.entity(RAISED), "http://purl.org/dc/terms/description")
        assert words == {
            language: alert_message(RAISED, RULE, PLACE)[f"description{language.title()}"] for language in ("ja", "en")
        }

    def test_a_station_without_place_gives_an_alert_without(self) -> None:
        assert LOCATION not in self.entity(RAISED, place=replace(PLACE, location=None)).attributes

    async def test_it_is_valid_ngsi_ld_with_short_names_under_our_context(self) -> None:
        entity = self.entity(CLEARED, now=CLEARED_AT)
        terms = await ContextResolver().resolve(MINAMO_CONTEXT)
        body = represent(entity, terms)
        assert {name for name in body if ":" in name} == set()
        assert represent(expand_entity(body, terms), terms) == body
