# SPDX-License-Identifier: Apache-2.0
"""Entities of NGSIv2 become NGSI-LD, attribute by attribute, and notifications are told apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats.broker_notifications import LD, V2, read_notification
from adapters.formats.ngsi_v2 import to_ngsi_ld
from broker.intake.inboxes import Inbox
from broker.intake.readings import UndecodablePayload
from broker.sections import read_document

ENTITY = {"id": "tomoe-01", "type": "WaterObserved"}
POINT = {"type": "Point", "coordinates": [138.47, 35.0]}
TIME = {"TimeInstant": {"type": "DateTime", "value": "2026-11-21T07:40:00.000Z"}}


def converted(inbox: dict[str, Any] | None = None, **attributes: Any) -> tuple[dict[str, Any], list[str]]:
    return to_ngsi_ld({**ENTITY, **attributes}, read_document(Inbox, {"id": "orion", **(inbox or {})}))


def attribute(value: Any, kind: str = "Text", **metadata: Any) -> dict[str, Any]:
    return {"type": kind, "value": value, "metadata": metadata}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (attribute(1.5, "Number"), {"type": "Property", "value": 1.5}),
        (attribute("1.5", "Number"), {"type": "Property", "value": 1.5}),
        (attribute("1.5"), {"type": "Property", "value": "1.5"}),
        (attribute(True, "Boolean"), {"type": "Property", "value": True}),
        (attribute({"a": [1]}, "StructuredValue"), {"type": "Property", "value": {"a": [1]}}),
        (attribute(2, "Number", **TIME), {"type": "Property", "value": 2, "observedAt": "2026-11-21T07:40:00Z"}),
        (
            attribute(2, "Number", unitCode=attribute("MTR"), accuracy=attribute(0.1, "Number")),
            {"type": "Property", "value": 2, "unitCode": "MTR", "accuracy": {"type": "Property", "value": 0.1}},
        ),
        (attribute(2, "Number", dateModified=attribute("2026-11-21T07:40:00Z")), {"type": "Property", "value": 2}),
        (
            attribute("2026-11-21T16:40:00+09:00", "DateTime"),
            {"type": "Property", "value": {"@type": "DateTime", "@value": "2026-11-21T07:40:00Z"}},
        ),
        (attribute(POINT, "geo:json"), {"type": "GeoProperty", "value": POINT}),
        (attribute({"type": "Feature", "geometry": POINT}, "geo:json"), {"type": "GeoProperty", "value": POINT}),
        (attribute("35.0, 138.47", "geo:point"), {"type": "GeoProperty", "value": POINT}),
        (
            attribute(["35,138", "36,139"], "geo:line"),
            {"type": "GeoProperty", "value": {"type": "LineString", "coordinates": [[138, 35], [139, 36]]}},
        ),
        (
            attribute(["35,138", "36,139"], "geo:box"),
            {
                "type": "GeoProperty",
                "value": {"type": "Polygon", "coordinates": [[[138, 35], [139, 35], [139, 36], [138, 36], [138, 35]]]},
            },
        ),
        (attribute("d 1", "Relationship"), {"type": "Relationship", "object": "urn:ngsi-ld:Thing:d%201"}),
        (1.5, {"type": "Property", "value": 1.5}),
    ],
)
def test_attribute_becomes(given: Any, expected: dict[str, Any]) -> None:
    found, faults = converted(x=given)
    assert (found["x"], faults) == (expected, [])


def test_entity_gets_a_urn_and_references_too() -> None:
    found, _ = converted(refDevice=attribute("D1"), refPoints=attribute(["urn:x:1", "2"], "Relationship"))
    assert (found["id"], found["type"]) == ("urn:ngsi-ld:WaterObserved:tomoe-01", "WaterObserved")
    assert found["refDevice"] == {"type": "Relationship", "object": "urn:ngsi-ld:Device:D1"}
    assert found["refPoints"] == {"type": "ListRelationship", "objectList": ["urn:x:1", "urn:ngsi-ld:Points:2"]}


def test_time_of_the_entity_holds_for_attributes_without_one() -> None:
    found, _ = converted(
        TimeInstant=attribute("2026-11-21T07:30:00Z", "DateTime"),
        level=attribute(1, "Number"),
        rain=attribute(2, "Number", **TIME),
    )
    assert "TimeInstant" not in found
    assert (found["level"]["observedAt"], found["rain"]["observedAt"]) == (
        "2026-11-21T07:30:00Z",
        "2026-11-21T07:40:00Z",
    )


def test_date_observed_may_be_naive_an_interval_and_stays_an_attribute() -> None:
    time = attribute("2026-11-21T16:40:00/2026-11-21T16:50:00")
    found, faults = converted({"timeZone": "Asia/Tokyo"}, dateObserved=time, level=attribute(1, "Number"))
    assert (found["level"]["observedAt"], faults) == ("2026-11-21T07:40:00Z", [])
    assert found["dateObserved"]["value"] == "2026-11-21T16:40:00/2026-11-21T16:50:00"


def test_nothing_and_commands_are_left_out() -> None:
    found, faults = converted(
        a=attribute(None, "Number"), b=attribute("", "command"), b_status=attribute("OK", "commandStatus")
    )
    assert (found.keys(), faults) == ({"id", "type"}, [])


def test_names_become_those_of_the_inbox() -> None:
    names = {"typeNames": {"WaterObserved": "FloodMonitoring"}, "attributeNames": {"h": "waterLevel", "secret": ""}}
    found, _ = converted(names, h=attribute(1, "Number"), secret=attribute("x"))
    assert found == {
        "id": "urn:ngsi-ld:FloodMonitoring:tomoe-01",
        "type": "FloodMonitoring",
        "waterLevel": {"type": "Property", "value": 1},
    }


def test_what_is_wrong_with_one_attribute_leaves_the_others() -> None:
    found, faults = converted(
        a=attribute("x", "Number"), b=attribute("somewhere", "geo:point"), c=attribute(1, "Number")
    )
    assert (found["c"], faults) == (
        {"type": "Property", "value": 1},
        ["a: 'x' is not a number", "b: 'somewhere' is not a latitude and a longitude"],
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text() | st.sampled_from(["type", "value"]), values),
    max_leaves=8,
)


@given(value=JSON, kind=JSON | st.sampled_from(["geo:json", "geo:box", "DateTime", "Number", "Relationship"]))
def test_no_value_makes_anything_but_a_document_or_a_refusal(value: Any, kind: Any) -> None:
    found, faults = converted(x={"type": kind, "value": value, "metadata": value}, y=value)
    assert isinstance(found, dict) and isinstance(faults, list)


class TestNotification:
    def test_kinds_are_known_by_their_form(self) -> None:
        assert read_notification({"subscriptionId": "5", "data": [ENTITY]}).kind == V2
        told = {
            "id": "urn:x:n",
            "type": "Notification",
            "subscriptionId": "urn:x:s",
            "notifiedAt": "t",
            "data": [ENTITY],
        }
        found = read_notification(told)
        assert (found.kind, found.entities, found.notified_at) == (LD, [ENTITY], "t")

    @pytest.mark.parametrize(
        ("document", "attrs_format", "says"),
        [
            ({"contextResponses": []}, None, "NGSIv1"),
            ({"data": [[1, 2]]}, "values", "attrsFormat values has no names"),
            ({"hello": 1}, None, "it has no data"),
            ({"data": "x"}, None, "data is str"),
            ({"type": "Notification", "data": {"type": "FeatureCollection"}}, None, "this is GeoJSON"),
        ],
    )
    def test_what_is_no_notification_is_refused(self, document: Any, attrs_format: str | None, says: str) -> None:
        with pytest.raises(UndecodablePayload, match=says):
            read_notification(document, attrs_format)
