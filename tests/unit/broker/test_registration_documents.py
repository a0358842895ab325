# SPDX-License-Identifier: Apache-2.0
"""Registrations from the wire to the stored form and back, and which do not go together (clauses 5.2.9 and 5.9.2)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from broker.contexts.jsonld import core_terms
from broker.errors import BadRequestData
from broker.registrations.document import expand_registration, merge_registration
from broker.registrations.model import RegistrationCounters, check_expiry, read_registration, represent_registration
from broker.registrations.operations import GROUPS, OPERATIONS
from schemas.terms import NULL

TERMS = core_terms()
NOW = datetime(2026, 11, 21, tzinfo=UTC)
WHOLE: dict[str, Any] = {
    "type": "ContextSourceRegistration",
    "registrationName": "Rivers",
    "endpoint": "http://source:1026",
    "mode": "redirect",
    "operations": ["retrieveOps", "updateEntity"],
    "information": [
        {
            "entities": [{"type": "River", "id": "urn:r:1"}, {"type": ["River", "Lake"], "idPattern": "^urn:l"}],
            "propertyNames": ["level"],
            "relationshipNames": ["flowsInto"],
        }
    ],
    "contextSourceInfo": [{"key": "Authorization", "value": "Bearer x"}],
    "contextSourceAlias": "alias-1",
    "tenant": "north",
    "management": {"timeout": 250, "cooldown": 500, "localOnly": True, "cacheDuration": "PT5M"},
    "observationInterval": {"startAt": "2020-01-01T00:00:00Z"},
    "location": {"type": "Point", "coordinates": [1, 2]},
    "scope": ["/A", "/B"],
    "datasetId": ["@none", "urn:d:1"],
    "expiresAt": "2030-01-01T00:00:00Z",
    "sourceType": {"type": "Property", "value": "sensor"},
    "owner": "city",
}


def read(body: dict[str, Any]) -> None:
    read_registration(expand_registration(body, TERMS), "urn:r")


def test_a_registration_comes_back_as_it_was_given() -> None:
    document = expand_registration(WHOLE, TERMS)
    assert represent_registration(document, "urn:r", RegistrationCounters(), TERMS) == {"id": "urn:r", **WHOLE}


def test_times_of_management_are_in_seconds() -> None:
    registration = read_registration(expand_registration(WHOLE, TERMS), "urn:r")
    assert (registration.timeout_s, registration.cooldown_s, registration.local_only) == (0.25, 0.5, True)


def test_groups_of_operations_are_taken_apart() -> None:
    registration = read_registration(expand_registration(WHOLE, TERMS), "urn:r")
    assert registration.operations == {"retrieveEntity", "queryEntity", "updateEntity"}


def test_without_operations_they_are_those_of_a_federation() -> None:
    body = {name: value for name, value in WHOLE.items() if name != "operations"}
    assert read_registration(expand_registration(body, TERMS), "urn:r").operations == GROUPS["federationOps"]
    assert GROUPS["federationOps"] <= OPERATIONS


def test_counts_tell_of_the_last_request() -> None:
    assert RegistrationCounters().members() == {}
    failed = RegistrationCounters(2, 1, NOW, NOW.replace(year=2027)).members()
    assert (failed["status"], failed["timesSent"], failed["timesFailed"]) == ("failed", 2, 1)
    assert RegistrationCounters(1, 0, NOW, None).members()["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"type": "Subscription"}, "type"),
        ({"endpoint": "no uri"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"information": []}, "information"),
        ({"information": [{}]}, "information[0]"),
        ({"information": [{"entities": [{"id": "urn:r:1"}]}]}, "information[0].entities[0]"),
        ({"information": [{"propertyNames": []}]}, "information[0].propertyNames"),
        ({"mode": "own"}, "mode"),
        ({"operations": ["readEverything"]}, "operations[0]"),
        ({"management": "yes"}, "management"),
        ({"management": {"cacheDuration": "bogus"}}, "management.cacheDuration"),
        ({"management": {"cooldown": 0}}, "management.cooldown"),
        ({"management": {"timeout": -5}}, "management.timeout"),
        ({"management": {"localOnly": "yes"}}, "management.localOnly"),
        ({"contextSourceInfo": [{"key": "accept", "value": "text/html"}]}, "contextSourceInfo[0].value"),
        ({"contextSourceInfo": [{"key": "X", "value": "a\nb"}]}, "contextSourceInfo[0]"),
        ({"contextSourceInfo": [{"key": "jsonldContext", "value": "x"}]}, "contextSourceInfo[0].value"),
        ({"observationInterval": {}}, "observationInterval"),
        ({"location": {"type": "Point", "coordinates": [200, 0]}}, "location.coordinates"),
        ({"scope": "//"}, "scope"),
        ({"expiresAt": "tomorrow"}, "expiresAt"),
        ({"endpiont": "http://x"}, "endpiont"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        read(WHOLE | change)
    assert caught.value.detail.startswith(f"{path}:")


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "exclusive", "information": [{"entities": [{"type": "River", "id": "urn:r:1"}]}]},
        {"mode": "exclusive", "information": [{"entities": [{"type": "River"}], "propertyNames": ["level"]}]},
        {"mode": "exclusive", "information": [{"entities": [{"type": "R", "idPattern": "x"}], "propertyNames": ["a"]}]},
        {"mode": "exclusive", "information": [{"propertyNames": ["level"]}]},
        {"mode": "auxiliary", "operations": ["updateEntity"]},
        {"observationInterval": {"startAt": "2020-01-01T00:00:00Z", "endAt": "2019-01-01T00:00:00Z"}},
    ],
)  # fmt: skip
def test_members_that_do_not_go_together_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData):
        read(WHOLE | change)


def test_an_auxiliary_source_may_leave_its_operations_open() -> None:
    body = {name: value for name, value in WHOLE.items() if name != "operations"}
    read(body | {"mode": "auxiliary"})


def test_what_has_expired_already_is_refused() -> None:
    with pytest.raises(BadRequestData):
        check_expiry({"expiresAt": "2020-01-01T00:00:00Z"}, NOW)
    check_expiry({"expiresAt": "2030-01-01T00:00:00Z"}, NOW)


@pytest.mark.parametrize("nothing", [NULL, None])
def test_a_fragment_changes_members_and_removes_those_set_to_null(nothing: Any) -> None:
    document = expand_registration(WHOLE, TERMS)
    fragment = expand_registration(
        {"endpoint": "http://new", "tenant": nothing, "owner": nothing, "grade": 1}, TERMS, fragment=True
    )
    shown = represent_registration(merge_registration(document, fragment), "urn:r", RegistrationCounters(), TERMS)
    assert (shown["endpoint"], shown["grade"], shown["sourceType"]) == ("http://new", 1, WHOLE["sourceType"])
    assert "tenant" not in shown
    assert "owner" not in shown
