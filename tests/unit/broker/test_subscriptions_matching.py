# SPDX-License-Identifier: Apache-2.0
"""Which changes concern which subscriptions (clause 5.8.6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contexts.jsonld import core_terms
from broker.entities import AttributeChange, ExpandedEntity, Instance
from broker.query.types import parse_types
from broker.subscriptions import (
    EntityEvent,
    Indexed,
    SubscriptionIndex,
    expand_subscription,
    indexed,
    read_subscription,
    state_after,
    state_before,
)
from broker.subscriptions.index import required_types
from broker.subscriptions.matching import kind_of
from schemas.terms import DEFAULT_VOCABULARY

RIVER = "urn:ngsi-ld:River:1"


def iri(name: str) -> str:
    return DEFAULT_VOCABULARY + name


def value(content: Any, **members: Any) -> Instance:
    return {"type": "Property", "value": content, **members}


def change(name: str, before: Any = None, after: Any = None, dataset: str = "@none") -> AttributeChange:
    return AttributeChange(
        iri(name),
        dataset,
        None if before is None else value(before),
        None if after is None else value(after),
    )


def event(*changes: AttributeChange, operation: str = "updated", types: tuple[str, ...] = ("River",)) -> EntityEvent:
    return EntityEvent(1, RIVER, tuple(map(iri, types)), operation, changes)


def entry(key: int = 1, tenant_id: int = 1, **members: Any) -> Indexed:
    body: dict[str, Any] = {
        "type": "Subscription",
        "entities": [{"type": "River"}],
        "notification": {"endpoint": {"uri": "http://example.org/"}},
    }
    body = {name: member for name, member in (body | members).items() if member is not None}
    subscription = read_subscription(expand_subscription(body, core_terms()), f"urn:ngsi-ld:Subscription:{key}")
    return indexed(key, tenant_id, subscription, None)


def concerns(happened: EntityEvent, **members: Any) -> bool:
    return bool(SubscriptionIndex([entry(**members)]).candidates(happened))


UPDATE = change("level", 1, 2)


def test_changed_attribute_of_the_type_concerns() -> None:
    assert concerns(event(UPDATE))


def test_other_type_does_not_concern() -> None:
    assert not concerns(event(UPDATE, types=("Canal",)))


def test_one_of_several_types_is_enough() -> None:
    assert concerns(event(UPDATE, types=("Canal", "River")))


def test_other_tenant_does_not_concern() -> None:
    assert not SubscriptionIndex([entry(tenant_id=2)]).candidates(event(UPDATE))


@pytest.mark.parametrize(("entity_id", "expected"), [(RIVER, True), ("urn:ngsi-ld:River:2", False)])
def test_selector_by_id(entity_id: str, expected: bool) -> None:
    assert concerns(event(UPDATE), entities=[{"type": "River", "id": entity_id}]) is expected


def test_selector_by_pattern_is_decided_on_the_entity() -> None:
    entity = ExpandedEntity(RIVER, (iri("River"),))
    assert entry(entities=[{"type": "*", "idPattern": "River:1$"}]).matches(entity)
    assert not entry(entities=[{"type": "*", "idPattern": "River:2$"}]).matches(entity)
    assert concerns(event(UPDATE), entities=[{"type": "*", "idPattern": "River:2$"}])


def test_watched_attributes_without_entities_concern_any_entity() -> None:
    assert concerns(event(UPDATE), entities=None, watchedAttributes=["level"])
    assert not concerns(event(UPDATE), entities=None, watchedAttributes=["flow"])


def test_each_candidate_is_found_once() -> None:
    selectors = [{"type": "River"}, {"type": "Canal"}, {"type": "*", "id": RIVER}]
    index = SubscriptionIndex([entry(entities=selectors, watchedAttributes=["level", "flow"])])
    assert len(index.candidates(event(UPDATE, change("flow", 1, 2), types=("River", "Canal")))) == 1


CREATED = event(change("level", after=1), operation="created")
DELETED = event(change("level", before=1), operation="deleted")
TRIGGERS = [
    ("entityCreated", CREATED),
    ("entityDeleted", DELETED),
    ("attributeCreated", event(change("level", after=1))),
    ("attributeUpdated", event(UPDATE)),
    ("attributeDeleted", event(change("level", before=1))),
]


@pytest.mark.parametrize(("trigger", "happened"), TRIGGERS)
def test_trigger_fires_on_its_change(trigger: str, happened: EntityEvent) -> None:
    assert concerns(happened, notificationTrigger=[trigger])


@pytest.mark.parametrize(("trigger", "happened"), TRIGGERS)
def test_trigger_does_not_fire_on_other_changes(trigger: str, happened: EntityEvent) -> None:
    others = [name for name, _ in TRIGGERS if name != trigger]
    # Creating an entity creates its attributes, deleting it deletes them (clause 5.2.12).
    also = {"entityCreated": "attributeCreated", "entityDeleted": "attributeDeleted"}.get(trigger)
    assert not concerns(happened, notificationTrigger=[name for name in others if name != also])


@pytest.mark.parametrize("happened", [happened for name, happened in TRIGGERS if name.startswith("attribute")])
def test_entity_updated_fires_on_any_change_of_attributes(happened: EntityEvent) -> None:
    assert concerns(happened, notificationTrigger=["entityUpdated"])


def test_creation_of_an_entity_creates_its_attributes() -> None:
    assert concerns(CREATED, notificationTrigger=["attributeCreated"])


def test_entity_triggers_look_at_watched_attributes() -> None:
    assert concerns(CREATED, notificationTrigger=["entityCreated"], watchedAttributes=["level"])
    assert not concerns(CREATED, notificationTrigger=["entityCreated"], watchedAttributes=["flow"])


def test_trigger_and_watched_attribute_have_to_meet_in_one_change() -> None:
    happened = event(change("level", before=1), change("flow", 1, 2))
    assert not concerns(happened, notificationTrigger=["attributeUpdated"], watchedAttributes=["level"])


def test_entity_without_attributes_is_created() -> None:
    assert concerns(event(operation="created"), notificationTrigger=["entityCreated"])


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (value(1, modifiedAt="2026-01-01T00:00:00Z"), value(1, modifiedAt="2026-01-02T00:00:00Z"), False),
        (value(1, observedAt="2026-01-01T00:00:00Z"), value(1, observedAt="2026-01-02T00:00:00Z"), True),
        (value(1), value(1, unitCode="MTR"), True),
        (value(1), value(True), True),
        (value(1), value(1.0), False),
        (value(1, attrs={iri("q"): {"@none": value(1)}}), value(1, attrs={iri("q"): {"@none": value(2)}}), True),
        (
            value(1, attrs={iri("q"): {"@none": value(1, createdAt="2026-01-01T00:00:00Z")}}),
            value(1, attrs={iri("q"): {"@none": value(1, createdAt="2026-01-02T00:00:00Z")}}),
            False,
        ),
    ],
)
def test_change_is_a_member_with_another_value(before: Instance, after: Instance, changed: bool) -> None:
    assert (kind_of(AttributeChange(iri("level"), "@none", before, after)) is not None) is changed


@pytest.mark.parametrize(
    ("selection", "required"),
    [("A", {"A"}), ("A|B", {"A", "B"}), ("A;B", {"A"}), ("(A|B);C", {"C"}), ("(A;B)|C", {"A", "C"})],
)
def test_required_types(selection: str, required: set[str]) -> None:
    tree = parse_types(selection, iri)
    assert tree is not None
    assert required_types(tree) == {iri(name) for name in required}


_names = st.sampled_from(["A", "B", "C"])
_changes = st.lists(
    st.tuples(_names, st.sampled_from(["@none", "urn:d:1"]), st.integers(0, 3), st.integers(0, 3)).filter(
        lambda item: item[2] or item[3]
    ),
    max_size=4,
    unique_by=lambda item: item[:2],
)


@given(
    st.lists(st.tuples(st.lists(_names, min_size=1, max_size=2), st.lists(_names, max_size=2)), max_size=5),
    _changes,
    st.lists(_names, min_size=1, max_size=2, unique=True),
)
def test_index_finds_what_trying_all_finds(
    wanted: list[tuple[list[str], list[str]]], changes: list[tuple[str, str, int, int]], types: list[str]
) -> None:
    entries = [
        entry(key, entities=[{"type": name} for name in names], watchedAttributes=watched or None)
        for key, (names, watched) in enumerate(wanted)
    ]
    happened = event(
        *(change(n, before, after, dataset) for n, dataset, before, after in _present(changes)), types=tuple(types)
    )
    found = {item.key for item in SubscriptionIndex(entries).candidates(happened)}
    alone = {item.key for item in entries if SubscriptionIndex([item]).candidates(happened)}
    by_hand = {key for key, (names, watched) in enumerate(wanted) if _concerned(happened, names, watched)}
    assert found == alone == by_hand


def _present(changes: list[tuple[str, str, int, int]]) -> list[tuple[str, str, Any, Any]]:
    return [(name, dataset, before or None, after or None) for name, dataset, before, after in changes]


def _concerned(happened: EntityEvent, names: list[str], watched: list[str]) -> bool:
    changed = {
        item.attribute
        for item in happened.changes
        if item.after is not None and (item.before is None or item.before != item.after)
    }
    return bool({iri(name) for name in names} & set(happened.types)) and bool(
        changed & {iri(name) for name in watched} if watched else changed
    )


def test_states_around_an_event_are_worked_out_from_the_present_one() -> None:
    first, second = event(change("level", 1, 2)), event(change("level", 2, 3), change("flow", after=9))
    now = ExpandedEntity(RIVER, second.types, {iri("level"): {"@none": value(3)}, iri("flow"): {"@none": value(9)}})
    between = state_before(now, second)
    assert between.attributes == {iri("level"): {"@none": value(2)}}
    assert state_before(between, first).attributes == {iri("level"): {"@none": value(1)}}
    assert state_after(now, first).attributes[iri("level")]["@none"] == value(2)
