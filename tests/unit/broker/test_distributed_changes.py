# SPDX-License-Identifier: Apache-2.0
"""Which part of a change is whose, and how it is written for a source."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from broker.contexts.active_context import process
from broker.contexts.jsonld import TermMap, core_terms
from broker.query import EntitySelector
from broker.registrations.changes import (
    Territory,
    change_request,
    of_hub,
    of_source,
    renamed,
    renamed_attribute,
)
from broker.registrations.document import expand_registration
from broker.registrations.matching import Share
from broker.registrations.model import Registration, read_registration
from broker.registrations.requests import manner_of

TERMS = core_terms()
SPEED, COLOUR = (TERMS.expand_term(name) for name in ("speed", "colour"))
BODY: dict[str, Any] = {"id": "urn:e:1", "type": "Car", "scope": "/A", "speed": 1, "colour": "red"}


def share(*attributes: str) -> Share:
    return Share(EntitySelector(), frozenset(attributes))


def registered(**members: Any) -> Registration:
    body = {"type": "ContextSourceRegistration", "endpoint": "http://s", "information": [{"propertyNames": ["speed"]}]}
    return read_registration(expand_registration(body | members, TERMS), "urn:r:1")


def test_a_source_gets_what_it_registered() -> None:
    assert of_source([share(SPEED)]).part(BODY, TERMS) == {name: BODY[name] for name in BODY if name != "colour"}
    assert of_source([share(SPEED), share()]).part(BODY, TERMS) == BODY


def test_the_hub_writes_what_no_proxied_source_has() -> None:
    assert of_hub([]) == Territory()
    assert of_hub([share()]) is None
    here = of_hub([share(SPEED)])
    assert here is not None
    assert here.part(BODY, TERMS) == {name: BODY[name] for name in BODY if name != "speed"}
    assert here.covers(COLOUR)
    assert not here.covers(SPEED)


def test_parameters_go_with_a_change_but_local_does_not() -> None:
    registration = registered(management={"localOnly": True})
    manner = manner_of(registration, {}, TERMS, None, "1.1 hub")
    path = ("entities", "urn:e:1", "attrs")
    sent = change_request(registration, "POST", path, {"options": "noOverwrite", "local": "false"}, {}, manner)
    assert sent.url == "http://s/ngsi-ld/v1/entities/urn:e:1/attrs?options=noOverwrite&local=true"


@pytest.mark.parametrize(
    ("info", "content_type", "has_context"),
    [([], "application/json", False), ([("contentType", "application/ld+json")], "application/ld+json", True)],
)
def test_a_body_comes_as_the_source_wants_it(info: list[tuple[str, str]], content_type: str, has_context: bool) -> None:
    pairs = [{"key": key, "value": value} for key, value in info]
    registration = registered(**({"contextSourceInfo": pairs} if pairs else {}))
    manner = manner_of(registration, {}, TERMS, None, "1.1 hub")
    sent = change_request(registration, "POST", ("entities",), {}, BODY, manner)
    assert sent.headers["Content-Type"] == content_type
    assert ("@context" in orjson.loads(sent.body or b"")) is has_context


@pytest.fixture(scope="module")
def own() -> TermMap:
    """An @context in which speed is v, and Car is Auto."""
    return TermMap(process([{"v": SPEED, "Auto": TERMS.expand_term("Car"), "note": "urn:x:note"}]))


def test_names_are_those_of_the_source_at_every_depth(own: TermMap) -> None:
    body = {
        "id": "urn:e:1",
        "type": ["Car"],
        "speed": [
            {"type": "Property", "value": {"speed": 1}, "urn:x:note": {"value": 2}},
            {"value": 3, "datasetId": "a:b"},
        ],
        "kind": {"type": "VocabProperty", "vocab": ["speed"]},
        "bare": {"speed": 1},
    }  # fmt: skip
    assert renamed(body, TERMS, own) == {
        "id": "urn:e:1",
        "type": ["Auto"],
        "v": [{"type": "Property", "value": {"speed": 1}, "note": {"value": 2}}, {"value": 3, "datasetId": "a:b"}],
        "kind": {"type": "VocabProperty", "vocab": ["v"]},
        "bare": {"speed": 1},
    }


def test_a_fragment_of_an_attribute_is_one_whatever_it_says(own: TermMap) -> None:
    assert renamed_attribute({"urn:x:note": 1}, TERMS, own, fragment=True) == {"note": 1}
    assert renamed_attribute({"urn:x:note": 1}, TERMS, own) == {"urn:x:note": 1}
