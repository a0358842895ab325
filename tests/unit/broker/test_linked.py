# SPDX-License-Identifier: Apache-2.0
"""Linked entity retrieval (clause 4.5.23) over entities in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from broker import linked
from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.errors import TooManyResults
from broker.expansion import expand_entity
from broker.linked import Inliner, Join, LinkedForm, LinkedRetrieval, flattened, linked_entities
from broker.representations import NORMALIZED, SIMPLIFIED, Representation, represent

TERMS = core_terms()
INLINE = LinkedRetrieval(Join.INLINE, 3)


def thing(name: str, **links: str | list[str]) -> ExpandedEntity:
    """An entity with a text and Relationships to other things."""
    body: dict[str, Any] = {"id": f"urn:x:{name}", "type": "Thing", "name": {"type": "Property", "value": name}}
    for relationship, names in links.items():
        uris = [f"urn:x:{item}" for item in names] if isinstance(names, list) else f"urn:x:{names}"
        kind, member = ("ListRelationship", "objectList") if relationship == "parts" else ("Relationship", "object")
        body[relationship] = {"type": kind, member: uris}
    return expand_entity(body, TERMS)


class Store:
    """Counts how often it is asked."""

    def __init__(self, *things: ExpandedEntity) -> None:
        self.things = {item.id: item for item in things}
        self.asked: list[set[str]] = []

    async def fetch(self, ids: Collection[str]) -> Mapping[str, ExpandedEntity]:
        self.asked.append(set(ids))
        return {name: self.things[name] for name in ids if name in self.things}


def picked(*names: str, form: Representation = SIMPLIFIED) -> Representation:
    iris = (name if name in ("id", "type") else TERMS.expand_term(name) for name in names)
    return replace(form, pick=frozenset(iris))


async def inline(
    root: ExpandedEntity, store: Store, form: LinkedForm, retrieval: LinkedRetrieval = INLINE
) -> dict[str, Any]:
    found = await linked_entities([root], form, retrieval, store.fetch)
    return represent(Inliner(found, retrieval, TERMS).inlined(root, form), TERMS, form.representation)


NAMES = LinkedForm(picked("name", "next", "parts"))


async def test_inline_simplified_stands_in_place_of_the_uri() -> None:
    store = Store(thing("b", next="c"), thing("c"))
    written = await inline(thing("a", next="b"), store, NAMES)
    assert written == {"name": "a", "next": {"name": "b", "next": {"name": "c"}}}
    assert store.asked == [{"urn:x:b"}, {"urn:x:c"}]


async def test_inline_normalized_is_a_member_of_the_relationship() -> None:
    form = LinkedForm(picked("next", form=NORMALIZED), others=LinkedForm(picked("id", form=NORMALIZED)))
    written = await inline(thing("a", next="b"), Store(thing("b")), form)
    assert written["next"] == {"type": "Relationship", "object": "urn:x:b", "entity": {"id": "urn:x:b"}}


async def test_lists_keep_what_is_not_stored() -> None:
    written = await inline(thing("a", parts=["b", "gone"]), Store(thing("b")), NAMES)
    assert written["parts"] == [{"name": "b"}, "urn:x:gone"]


async def test_a_list_relationship_has_an_entity_list() -> None:
    form = LinkedForm(picked("parts", form=NORMALIZED), others=LinkedForm(picked("id", form=NORMALIZED)))
    written = await inline(thing("a", parts=["b", "gone"]), Store(thing("b")), form)
    assert written["parts"]["entityList"] == [{"id": "urn:x:b"}]
    assert written["parts"]["objectList"] == [{"object": "urn:x:b"}, {"object": "urn:x:gone"}]


async def test_a_loop_ends_where_it_began() -> None:
    written = await inline(thing("a", next="b"), Store(thing("b", next="a")), NAMES)
    assert written == {"name": "a", "next": {"name": "b", "next": "urn:x:a"}}


async def test_the_level_ends_a_path() -> None:
    store = Store(thing("b", next="c"), thing("c"))
    written = await inline(thing("a", next="b"), store, NAMES, LinkedRetrieval(Join.INLINE, 1))
    assert written["next"] == {"name": "b", "next": "urn:x:c"}


async def test_contained_by_is_not_retrieved_again() -> None:
    retrieval = LinkedRetrieval(Join.INLINE, 1, frozenset({"urn:x:b"}))
    store = Store(thing("b"))
    assert (await inline(thing("a", next="b"), store, NAMES, retrieval))["next"] == "urn:x:b"
    assert store.asked == []


async def test_a_relationship_that_is_not_written_is_not_followed() -> None:
    store = Store(thing("b"))
    assert await inline(thing("a", next="b"), store, LinkedForm(picked("name"))) == {"name": "a"}
    assert store.asked == []


async def test_flat_has_each_entity_once_and_the_linking_ones_first() -> None:
    store = Store(thing("b", next="c"), thing("c", next="a"))
    roots = [thing("a", next="b"), thing("d", next="b")]
    found = await linked_entities(roots, NAMES, LinkedRetrieval(Join.FLAT, 30), store.fetch)
    assert [entity.id[-1] for entity, _ in flattened(roots, NAMES, found)] == ["a", "d", "b", "c"]


async def test_each_relationship_has_its_own_form() -> None:
    form = LinkedForm(picked("next", "other"), {TERMS.expand_term("other"): LinkedForm(picked("id"))}, NAMES)
    written = await inline(thing("a", next="b", other="b"), Store(thing("b")), form)
    assert written == {"next": {"name": "b"}, "other": {"id": "urn:x:b"}}


async def test_an_answer_that_grows_without_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "MAX_LINKED", 1000)
    layers = [thing(f"n{number}", parts=[f"n{number + 1}"] * 4) for number in range(8)]
    with pytest.raises(TooManyResults):
        await inline(layers[0], Store(*layers), NAMES, LinkedRetrieval(Join.INLINE, 8))
