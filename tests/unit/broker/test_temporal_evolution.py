# SPDX-License-Identifier: Apache-2.0
"""Temporal queries, pages and representations: clauses 4.5.6 to 4.5.9, 4.11 and 6.3.10."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData
from broker.history.temporal import (
    HistoricInstance,
    TemporalQuery,
    TimeProperty,
    cut_to_page,
    represent_temporal,
    temporal_query,
)
from broker.history.temporal_input import expand_one_instance, expand_temporal
from broker.representations import Representation

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
NAMES = "https://uri.etsi.org/ngsi-ld/default-context/"
ENTITY = ExpandedEntity("urn:x:1", (NAMES + "River",), scopes=("/Japan",))


def item(minute: int, instance: dict[str, Any] | None = None, **members: Any) -> HistoricInstance:
    """An instance ``minute`` minutes after noon, recorded an hour later."""
    moment = NOON + timedelta(minutes=minute)
    observed = {"type": "Property", "value": minute, "observedAt": f"2026-07-01T12:{minute:02}:00Z"}
    given = {"attribute": NAMES + "waterLevel", "dataset": "@none", "key": minute, **members}
    return HistoricInstance(
        instance=instance or observed, recorded_at=moment + timedelta(hours=1), place=moment, **given
    )


def query(**parts: Any) -> TemporalQuery:
    nothing = dict.fromkeys(("timerel", "time_at", "end_time_at", "time_property", "last_n"))
    return temporal_query(**(nothing | parts))


class TestQuery:
    def test_before_is_open_at_its_end(self) -> None:
        assert query(timerel="before", time_at=NOON) == TemporalQuery(end=NOON, restricted=True)

    def test_after_includes_its_start(self) -> None:
        assert query(timerel="after", time_at=NOON) == TemporalQuery(start=NOON, restricted=True)

    def test_between_needs_two_times(self) -> None:
        later = NOON + timedelta(hours=1)
        found = query(timerel="between", time_at=NOON, end_time_at=later)
        assert found == TemporalQuery(start=NOON, end=later, restricted=True)

    def test_what_is_missing_is_named(self) -> None:
        with pytest.raises(BadRequestData, match="timerel=between needs an endTimeAt"):
            query(timerel="between", time_at=NOON)

    @pytest.mark.parametrize(
        "parts",
        [
            {"timerel": "after"},
            {"time_at": NOON},
            {"end_time_at": NOON},
            {"timerel": "between", "time_at": NOON},
            {"timerel": "after", "time_at": NOON, "end_time_at": NOON},
            {"timerel": "during", "time_at": NOON},
            {"time_property": "testedAt"},
        ],
    )
    def test_parts_that_do_not_fit_are_refused(self, parts: dict[str, Any]) -> None:
        with pytest.raises(BadRequestData):
            query(**parts)


LEVEL: dict[str, Any] = {"type": "Property", "value": 1.5, "observedAt": "2026-07-01T12:00:00Z"}


class TestOneInstance:
    """5.6.14.3: a fragment "including only the new Attribute instance, contained by an Array of exactly one item"."""

    @pytest.mark.parametrize("body", [LEVEL, {"waterLevel": [LEVEL]}, {NAMES + "waterLevel": LEVEL}])
    def test_it_comes_alone_or_in_its_attribute(self, body: dict[str, Any]) -> None:
        assert expand_one_instance("waterLevel", body, core_terms()).instance == LEVEL

    @pytest.mark.parametrize(
        "body", [{}, {"rain": [LEVEL]}, {"waterLevel": [LEVEL], "rain": [LEVEL]}, {"waterLevel": []},
                 {"waterLevel": [LEVEL, LEVEL]}]
    )  # fmt: skip
    def test_nothing_else_takes_the_place_of_what_was_measured(self, body: dict[str, Any]) -> None:
        with pytest.raises(BadRequestData):
            expand_one_instance("waterLevel", body, core_terms())


def test_an_attribute_without_instances_is_no_part_of_an_evolution() -> None:
    with pytest.raises(BadRequestData, match="at least one instance"):
        expand_temporal({"id": "urn:x:1", "type": "River", "waterLevel": []}, core_terms())


class TestPages:
    @given(st.lists(st.integers(0, 59), max_size=40), st.integers(1, 20), st.booleans())
    def test_a_page_is_one_end_of_the_whole_and_never_tears_a_moment_apart(
        self, minutes: list[int], most: int, newest: bool
    ) -> None:
        items = [(1, item(minute)) for minute in minutes]
        kept, cut = cut_to_page(items, TemporalQuery(last_n=99 if newest else None), most)
        places = {found.place for _, found in kept}
        left = [found.place for _, found in items if found.place not in places]
        assert len(kept) + len(left) == len(items)
        assert (cut is None) == (len(items) <= most)
        if left:
            assert (max(left) < min(places)) if newest else (min(left) > max(places))
        assert len(kept) <= most or len(places) == 1

    def test_a_cut_says_what_it_covers(self) -> None:
        asked = TemporalQuery(start=NOON - timedelta(hours=1), restricted=True)
        _, cut = cut_to_page([(1, item(minute)) for minute in range(5)], asked, 3)
        assert cut is not None
        assert cut.content_range() == "date-time 2026-07-01T11:00:00Z-2026-07-01T12:02:00Z/*"


class TestRepresentation:
    def test_each_attribute_is_a_list_of_instances_with_ids(self) -> None:
        body = represent_temporal(ENTITY, [item(1), item(2)], core_terms(), Representation())
        assert body == {
            "id": "urn:x:1",
            "type": "River",
            "waterLevel": [
                {"type": "Property", "value": minute, "observedAt": f"2026-07-01T12:0{minute}:00Z",
                 "instanceId": f"urn:ngsi-ld:instance:{minute}"}
                for minute in (1, 2)
            ],
        }  # fmt: skip

    def test_what_was_deleted_is_null_and_says_when(self) -> None:
        gone = item(3, {"type": "Property"}, removed=True)
        (written,) = represent_temporal(ENTITY, [gone], core_terms(), Representation())["waterLevel"]
        assert written["value"] == "urn:ngsi-ld:null"
        assert written["deletedAt"] == "2026-07-01T13:03:00Z"

    def test_times_of_the_system_are_those_of_recording(self) -> None:
        (written,) = represent_temporal(ENTITY, [item(1)], core_terms(), Representation(sys_attrs=True))["waterLevel"]
        assert written["createdAt"] == written["modifiedAt"] == "2026-07-01T13:01:00Z"

    @pytest.mark.parametrize(
        ("instance", "expected"),
        [
            ({"type": "Relationship", "object": "urn:x:2"}, {"type": "Relationship", "objects": ["urn:x:2"]}),
            ({"type": "ListRelationship", "objectList": ["urn:x:2"]},
             {"type": "ListRelationship", "objectLists": [["urn:x:2"]]}),
            ({"type": "LanguageProperty", "languageMap": {"ja": "川"}},
             {"type": "LanguageProperty", "languageMaps": [{"languageMap": {"ja": "川"}}]}),
            ({"type": "VocabProperty", "vocab": NAMES + "Calm"},
             {"type": "VocabProperty", "vocabs": [{"vocab": "Calm"}]}),
            ({"type": "JsonProperty", "json": [1]}, {"type": "JsonProperty", "jsons": [{"json": [1]}]}),
        ],
    )  # fmt: skip
    def test_simplified_values_by_kind(self, instance: dict[str, Any], expected: dict[str, Any]) -> None:
        body = represent_temporal(
            ENTITY, [item(1, instance)], core_terms(), Representation(), values_of=TimeProperty.CREATED_AT
        )
        series = body["waterLevel"]
        member = next(name for name in series if name != "type")
        assert {**series, member: [value for value, _ in series[member]]} == expected
        assert series[member][0][1] == "2026-07-01T13:01:00Z"

    def test_datasets_are_series_of_their_own(self) -> None:
        items = [item(1), item(1, dataset="urn:x:radar", key=9)]
        body = represent_temporal(ENTITY, items, core_terms(), Representation(), values_of=TimeProperty.OBSERVED_AT)
        assert [series.get("datasetId") for series in body["waterLevel"]] == [None, "urn:x:radar"]

    def test_only_the_attributes_asked_for(self) -> None:
        wanted = Representation(pick=frozenset({"id", NAMES + "flow"}))
        assert represent_temporal(ENTITY, [item(1)], core_terms(), wanted) == {"id": "urn:x:1"}
