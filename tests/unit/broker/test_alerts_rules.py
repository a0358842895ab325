# SPDX-License-Identifier: Apache-2.0
"""Rule documents: what is read, what is refused and how the refusal names the spot."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from broker.alerts import Confirmation, check_replacement, parse_rule, rule_document
from broker.errors import BadRequestData

LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"


def document(**members: Any) -> dict[str, Any]:
    """A complete rule document with some members replaced, or left out where they are None."""
    rule: dict[str, Any] = {
        "id": "dead-run-level",
        "name": {"ja": "デッドランの水位", "en": "Dead Run level"},
        "enabled": True,
        "entities": {"ids": ["urn:ngsi-ld:WaterObserved:dead-run"]},
        "attribute": LEVEL,
        "datasetId": "urn:ngsi-ld:Dataset:radar",
        "unitCode": "MTR",
        "levels": [{"stage": "standby", "threshold": 0.6}, {"stage": "caution", "threshold": 0.9}],
        "hysteresis": 0.05,
        "clearAfter": 600.0,
        "confirmation": {"count": 2, "seconds": 300.0},
    }
    return {name: value for name, value in (rule | members).items() if value is not None}


def test_a_rule_is_written_as_it_was_read() -> None:
    assert rule_document(parse_rule(document())) == document()


def test_defaults_are_ten_centimetres_thirty_minutes_and_the_first_sample() -> None:
    rule = parse_rule(document(hysteresis=None, clearAfter=None, confirmation=None, unitCode=None, enabled=None))
    assert (rule.hysteresis, rule.clear_after, rule.unit_code) == (0.10, timedelta(minutes=30), "MTR")
    assert rule.confirmation == Confirmation()
    assert rule.enabled


def test_defaults_are_written_out() -> None:
    written = rule_document(parse_rule(document(hysteresis=None, clearAfter=None)))
    assert (written["hysteresis"], written["clearAfter"]) == (0.10, 1800)


def test_one_name_stands_in_for_the_other() -> None:
    rule = parse_rule(document(name={"ja": "巴川"}))
    assert (rule.name_ja, rule.name_en) == ("巴川", "巴川")


def test_a_rule_by_ids_watches_exactly_these() -> None:
    selector = parse_rule(document(entities={"ids": ["urn:ngsi-ld:A:1", "urn:ngsi-ld:A:1"]})).entities
    assert selector.ids == ("urn:ngsi-ld:A:1",)
    assert selector.matches("urn:ngsi-ld:A:1", ("urn:x:A",))
    assert not selector.matches("urn:ngsi-ld:A:2", ("urn:x:A",))


def test_a_rule_by_type_watches_all_entities_of_the_type() -> None:
    selector = parse_rule(document(entities={"type": "https://example.org/A"})).entities
    assert selector.matches("urn:ngsi-ld:A:2", ("https://example.org/B", "https://example.org/A"))
    assert not selector.matches("urn:ngsi-ld:A:2", ("https://example.org/B",))


def levels(*pairs: tuple[object, object]) -> list[dict[str, object]]:
    return [{"stage": stage, "threshold": threshold} for stage, threshold in pairs]


STAGES = "observation_start, standby, caution, evacuation_decision, critical, danger, overflow_start, overflow"

REFUSED = [
    ({"id": None}, "id: 1 to 100 letters, digits, '.', '_' or '-' is expected, not nothing"),
    ({"id": "a:b"}, "id: 1 to 100 letters, digits, '.', '_' or '-' is expected, not 'a:b'"),
    ({"name": {}}, "name: a name in ja or en is expected"),
    ({"name": {"ja": " "}}, "name.ja: ' ' is not a name"),
    ({"name": {"fr": "x"}}, "name.fr: unknown member; known are en, ja"),
    ({"attribute": "waterLevel"}, "attribute: an absolute IRI is expected, not 'waterLevel'"),
    ({"datasetId": 7}, "datasetId: an absolute IRI is expected, not 7"),
    ({"unitCode": "metre"}, "unitCode: a unit code is expected, not 'metre'"),
    ({"enabled": "yes"}, "enabled: true or false is expected, not 'yes'"),
    ({"entities": {}}, "entities: exactly one of ids and type is expected"),
    ({"entities": {"ids": []}}, "entities.ids: an array of at least one item is expected, not []"),
    ({"entities": {"ids": ["x"]}}, "entities.ids[0]: an absolute IRI is expected, not 'x'"),
    ({"levels": []}, "levels: an array of at least one item is expected, not []"),
    ({"levels": [1]}, "levels[0]: an object is expected, not 1"),
    ({"levels": levels(("flood", 1))}, f"levels[0].stage: 'flood' is not one of {STAGES}"),
    ({"levels": levels(("danger", "1"))}, "levels[0].threshold: a number is expected, not '1'"),
    ({"levels": levels(("danger", True))}, "levels[0].threshold: a number is expected, not True"),
    ({"levels": levels(("danger", float("nan")))}, "levels[0].threshold: a number is expected, not nan"),
    (
        {"levels": levels(("danger", 1), ("caution", 2))},
        "levels[1].stage: caution does not come after danger",
    ),
    (
        {"levels": levels(("caution", 1), ("caution", 2))},
        "levels[1].stage: caution does not come after caution",
    ),
    (
        {"levels": levels(("caution", 1.2), ("danger", 1.2))},
        "levels[1].threshold: 1.2 (danger) is not above 1.2 (caution)",
    ),
    ({"hysteresis": -0.1}, "hysteresis: -0.1 is below 0"),
    ({"clearAfter": "30m"}, "clearAfter: a number is expected, not '30m'"),
    ({"clearAfter": 1e300}, "clearAfter: 1e+300 seconds are too long"),
    ({"confirmation": {"count": 0}}, "confirmation.count: 0 is not a whole number of at least 1"),
    ({"confirmation": {"minutes": 1}}, "confirmation.minutes: unknown member; known are count, seconds"),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refusals_name_the_spot(members: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_rule(document(**members))
    assert caught.value.detail == message


def test_a_misspelt_member_is_refused() -> None:
    with pytest.raises(BadRequestData, match=r"^hysterisis: unknown member"):
        parse_rule(document(hysterisis=0.3))


def test_a_rule_cannot_become_one_about_another_attribute() -> None:
    old, new = parse_rule(document()), parse_rule(document(attribute="https://example.org/flow"))
    with pytest.raises(BadRequestData, match=r"^attribute: rule dead-run-level watches"):
        check_replacement(old, new)


def test_thresholds_of_a_rule_can_change() -> None:
    check_replacement(parse_rule(document()), parse_rule(document(levels=levels(("danger", 3)))))
