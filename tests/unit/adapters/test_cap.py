# SPDX-License-Identifier: Apache-2.0
"""Alerts as CAP 1.2: valid by both schemas, in chains, never an order and never a drill among what is actual."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters.cap.area import shapes
from adapters.cap.feed import write_feed
from adapters.cap.messages import (
    CapEvent,
    CapProfile,
    Status,
    find_message,
    messages_of,
    parse_profile,
    profile_document,
    write_message,
)
from adapters.cap.words import CLASSES
from broker.alerts import AlertRule, EntitySelector, Level, Place, RuleState, Sample, alert_message, evaluate, withdraw
from schemas.stages import STAGES
from support.cap import Cap

START = datetime(2026, 6, 1, 5, 5, tzinfo=UTC)
STATION = "urn:ngsi-ld:WaterObserved:22100:tomoe-7"
POINT = {"type": "Point", "coordinates": [138.4, 35.0]}
PLACE = Place(STATION, "巴橋", "Tomoe Bridge", POINT)
CODES = [stage.code for stage in STAGES]
RULE = AlertRule(
    id="tomoe",
    entities=EntitySelector(ids=(STATION,)),
    attribute="https://smartdatamodels.org/dataModel.Environment/waterLevel",
    levels=tuple(Level(code, float(number)) for number, code in enumerate(CODES, 1)),
    name_ja="巴川",
    name_en="Tomoe",
    clear_after=timedelta(0),
)
ACTUAL = CapProfile("Actual", "minamo@city.example.jp", "市", "221007")
ATOM = {"a": "http://www.w3.org/2005/Atom"}
ORDERS = ["避難指示", "高齢者等避難", "緊急安全確保", "避難勧告", "Evacuate", "evacuation order", "Shelter"]


def flood(
    *levels: float, place: Place = PLACE, profile: CapProfile = ACTUAL, withdrawn: bool = False
) -> list[CapEvent]:
    """The events of a reading every five minutes; ``withdrawn``: the rule is deleted after the last one."""
    state = RuleState()
    events: list[CapEvent] = []

    def add(decisions: Iterable[Any], at: datetime) -> None:
        for decision in decisions:
            document = {**alert_message(decision, RULE, place), "cap": profile_document(profile)}
            number = 40 + len(events)
            events.append(CapEvent(number, document["id"], decision.kind, document, at + timedelta(seconds=1.5)))

    for number, level in enumerate(levels):
        at = START + timedelta(minutes=5 * number)
        state, decisions = evaluate(RULE, state, Sample(at, level))
        add(decisions, at)
    if withdrawn:
        at = START + timedelta(days=1)
        add(withdraw(state, at)[1], at)
    return events


def sent(*levels: float, **options: Any) -> list[Cap]:
    return [Cap(write_message(message)) for message in messages_of(flood(*levels, **options))]


class TestMessages:
    @pytest.mark.parametrize("status", get_args(Status))
    @pytest.mark.parametrize("code", CODES)
    def test_every_stage_is_valid_in_every_status(self, code: str, status: Status) -> None:
        (message,) = sent(CODES.index(code) + 1.0, profile=CapProfile(status, "minamo@city.example.jp"))
        expected = CLASSES[code]
        codes = [message.text(f"info/{name}") for name in ("severity", "urgency", "certainty", "responseType")]
        assert codes == [expected.severity, expected.urgency, expected.certainty, expected.response_type]

    def test_it_says_who_when_and_what(self) -> None:
        (message,) = sent(4.2)
        assert [message.text(name) for name in ("sender", "sent", "status", "msgType", "scope")] == [
            "minamo@city.example.jp", "2026-06-01T14:05:01+09:00", "Actual", "Alert", "Public",
        ]  # fmt: skip
        assert message.texts("info/event") == [
            "河川水位：氾濫危険水位（レベル４相当）",
            "川の 水の お知らせ",
            "River level: flood danger level (equivalent to level 4)",
        ]
        assert "レベル４氾濫危険警報" in message.text("info/instruction")

    def test_there_is_one_info_for_each_language_with_the_same_codes(self) -> None:
        (message,) = sent(3.0)
        assert message.texts("info/language") == ["ja-JP", "ja-x-easy", "en"]
        for name in ("category", "severity", "urgency", "certainty", "responseType", "expires"):
            assert len(set(message.texts(f"info/{name}"))) == 1

    def test_it_is_the_same_whenever_it_is_written(self) -> None:
        events = flood(1.0, 3.0)
        assert [write_message(m) for m in messages_of(events)] == [write_message(m) for m in messages_of(events)]

    def test_it_expires_after_it_was_sent(self) -> None:
        (message,) = sent(1.0, profile=CapProfile("Test", "x", valid_for=timedelta(0)))
        assert message.text("info/expires") > message.text("sent")

    def test_a_profile_is_read_as_it_was_written(self) -> None:
        assert parse_profile(profile_document(ACTUAL)) == ACTUAL


class TestChains:
    def test_a_flood_rises_falls_and_is_all_clear_once(self) -> None:
        messages = sent(1.0, 2.0, 4.0, 2.5, 0.5)
        assert [m.text("msgType") for m in messages] == ["Alert", "Update", "Update", "Update", "Update"]
        assert [m.text("info/responseType") for m in messages] == [
            "Monitor",
            "Monitor",
            "Prepare",
            "Monitor",
            "AllClear",
        ]

    def test_each_message_refers_to_all_earlier_ones(self) -> None:
        messages = sent(1.0, 2.0, 4.0, 2.5, 0.5)
        for number, message in enumerate(messages):
            assert message.references == [earlier.triple for earlier in messages[:number]]

    def test_several_levels_at_once_are_one_message_about_the_highest(self) -> None:
        (message,) = sent(4.0)
        assert message.text("info/headline") == "巴橋：氾濫危険水位（4.00 m）に到達"

    def test_a_lower_stage_that_goes_on_is_no_all_clear(self) -> None:
        last = sent(4.0, 2.5)[-1]
        assert last.text("info/event") == "河川水位：氾濫注意水位（レベル２相当）"
        assert last.text("info/description").endswith("氾濫注意水位のアラートは続いています。")

    def test_what_is_withdrawn_is_cancelled_and_not_all_clear(self) -> None:
        last = sent(4.0, withdrawn=True)[-1]
        assert (last.text("msgType"), last.texts("info/responseType")) == ("Cancel", ["Monitor"] * 3)

    def test_an_alert_that_comes_back_has_identifiers_of_its_own(self) -> None:
        identifiers = [message.text("identifier") for message in sent(1.0, 2.0, 1.0, 2.0, 1.0)]
        assert len(set(identifiers)) == 5

    def test_a_drill_refers_to_nothing_actual(self) -> None:
        events = flood(1.0)
        drill = flood(1.0, 2.0, profile=CapProfile("Exercise", "minamo@city.example.jp"))[1:]
        last = Cap(write_message(messages_of(events + drill)[-1]))
        assert (last.text("status"), last.references) == ("Exercise", [])

    def test_each_event_is_told_by_the_message_of_its_reading(self) -> None:
        events = flood(3.0)
        found = [find_message(events, event.sequence) for event in events]
        assert [message and message.event for message in found] == [events[-1]] * 3

    def test_an_event_from_before_messages_were_kept_has_none(self) -> None:
        event = flood(1.0)[0]
        old = CapEvent(1, event.alert_id, "raised", {k: v for k, v in event.document.items() if k != "cap"}, START)
        assert find_message([old], 1) is None


class TestWords:
    @pytest.mark.parametrize("withdrawn", [False, True])
    @pytest.mark.parametrize("code", CODES)
    def test_a_sensor_never_orders(self, code: str, withdrawn: bool) -> None:
        events = flood(CODES.index(code) + 1.0, *([] if withdrawn else [0.0]), withdrawn=withdrawn)
        text = b"".join(write_message(message) for message in messages_of(events)).decode()
        assert [order for order in ORDERS if order in text] == []

    @pytest.mark.parametrize(
        ("status", "ja", "en"), [("Exercise", "【訓練】", "[EXERCISE] "), ("Test", "【試験】", "[TEST] ")]
    )
    def test_a_drill_says_so_in_every_sentence(self, status: Status, ja: str, en: str) -> None:
        (message,) = sent(1.0, profile=CapProfile(status, "minamo@city.example.jp"))
        for name in ("event", "headline", "description"):
            japanese, easy, english = message.texts(f"info/{name}")
            assert (japanese.startswith(ja), easy.startswith("【"), english.startswith(en)) == (True, True, True)

    def test_easy_japanese_says_what_happened_in_short_sentences(self) -> None:
        first, last = sent(3.0, 0.0)
        assert first.texts("info/headline")[1] == "巴橋：川の 水が とても 多く なりました"
        assert last.texts("info/headline")[1] == "巴橋：川の 水が へりました"
        assert max(len(part) for part in first.texts("info/description")[1].split("。")) < 40

    def test_a_message_of_before_there_was_easy_japanese_stays_as_it_was_sent(self) -> None:
        (event,) = flood(1.0)
        old = {name: value for name, value in event.document["cap"].items() if name != "languages"}
        (message,) = messages_of([replace(event, document={**event.document, "cap": old})])
        assert Cap(write_message(message)).texts("info/language") == ["ja-JP", "en"]


class TestAreas:
    def test_a_gauge_is_a_circle_latitude_first(self) -> None:
        (message,) = sent(1.0)
        assert message.texts("info/area/circle") == ["35,138.4 1"] * 3
        assert message.text("info/area/geocode/value") == "221007"

    def test_a_polygon_is_its_outer_ring(self) -> None:
        ring = [[138.0, 34.0], [139.0, 34.0], [139.0, 35.5], [138.0, 34.0]]
        polygon = {
            "type": "Polygon",
            "coordinates": [ring, [[138.1, 34.1], [138.2, 34.1], [138.2, 34.2], [138.1, 34.1]]],
        }
        assert shapes(polygon, 1.0) == [("polygon", "34,138 34,139 35.5,139 34,138")]

    def test_a_river_is_the_circle_round_it(self) -> None:
        line = {"type": "LineString", "coordinates": [[138.0, 35.0], [138.0, 35.2]]}
        ((element, text),) = shapes(line, 0.5)
        assert (element, text) == ("circle", "35.1,138 11.62")  # a tenth of a degree is 11.1195 km

    def test_collections_have_all_their_shapes(self) -> None:
        assert [name for name, _ in shapes({"type": "GeometryCollection", "geometries": [POINT, POINT]}, 1)] == [
            "circle", "circle",
        ]  # fmt: skip

    def test_polygons_come_before_circles(self) -> None:
        ring = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
        mixed = {"type": "GeometryCollection", "geometries": [POINT, ring, POINT, ring]}
        (message,) = sent(1.0, place=Place(STATION, "a", "a", mixed))
        assert (len(message.texts("info/area/polygon")), len(message.texts("info/area/circle"))) == (6, 6)

    def test_a_station_without_a_place_has_its_name_only(self) -> None:
        (message,) = sent(1.0, place=Place(STATION, "巴" * 80, "Tomoe"))
        assert (len(message.text("info/area/areaDesc")), message.texts("info/area/circle")) == (49, [])


NAMES = st.text(min_size=1, max_size=60)
POSITIONS = st.tuples(st.floats(-180, 180), st.floats(-90, 90)).map(list)


class TestProperties:
    @given(
        st.lists(st.floats(0, 7), min_size=1, max_size=8),
        st.builds(Place, st.just(STATION), NAMES, NAMES, POSITIONS.map(lambda p: {"type": "Point", "coordinates": p})),
        st.builds(
            CapProfile,
            st.sampled_from(get_args(Status)),
            st.just("minamo@city.example.jp"),
            st.none() | NAMES,
            st.none() | st.just("221007"),
            st.floats(0.001, 100),
            st.timedeltas(timedelta(hours=1), timedelta(days=30)),
        ),
        st.booleans(),
    )
    def test_whatever_happens_every_message_is_valid_and_all_clear_comes_last(
        self, levels: list[float], place: Place, profile: CapProfile, withdrawn: bool
    ) -> None:
        episode: list[CapEvent] = []
        open_alerts: set[str] = set()
        for event in flood(*levels, place=place, profile=profile, withdrawn=withdrawn):
            episode.append(event)
            (open_alerts.add if event.kind == "raised" else open_alerts.discard)(event.alert_id)
            if not open_alerts:
                messages = [Cap(write_message(message)) for message in messages_of(episode)]
                ended = [m.text("msgType") == "Cancel" or m.text("info/responseType") == "AllClear" for m in messages]
                assert ended == [False] * (len(messages) - 1) + [True]
                episode = []
        for message in messages_of(episode):
            Cap(write_message(message))


class TestFeed:
    """Its form; ``tests/integration/test_alert_messages.py`` reads it with a feed reader."""

    def feed(self, events: list[CapEvent], next_url: str | None = None) -> etree._Element:
        hub = "https://hub.example"
        url = f"{hub}/api/v1/alerts/cap?status=Actual"
        return etree.fromstring(
            write_feed(events, "Actual", base_url=hub, feed_url=url, self_url=url, next_url=next_url)
        )

    def test_entries_have_what_atom_asks_for(self) -> None:
        (event,) = flood(1.0)
        (entry,) = self.feed([event]).findall("a:entry", ATOM)
        names = ("id", "title", "updated", "author/a:name")
        assert [entry.findtext(f"a:{name}", namespaces=ATOM) for name in names] == [
            event.identifier, "巴橋：水防団待機水位（1.00 m）に到達", "2026-06-01T05:05:01.5Z", "市",
        ]  # fmt: skip

    def test_entries_lead_to_their_messages(self) -> None:
        (link,) = self.feed(flood(1.0)).findall("a:entry/a:link", ATOM)
        assert (link.get("type"), link.get("rel")) == ("application/cap+xml", "alternate")
        assert link.get("href").startswith("https://hub.example/api/v1/alerts/urn%3Angsi-ld%3AAlert")

    def test_older_entries_are_on_the_next_page(self) -> None:
        links = self.feed([], "https://hub.example/older?a=1&b=2").findall("a:link", ATOM)
        assert {link.get("rel"): link.get("href") for link in links}["next"] == "https://hub.example/older?a=1&b=2"

    def test_a_feed_without_entries_has_a_time_too(self) -> None:
        assert self.feed([]).findtext("a:updated", namespaces=ATOM) == "1970-01-01T00:00:00Z"
