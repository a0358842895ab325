# SPDX-License-Identifier: Apache-2.0
"""What a notification looks like (clauses 5.3.1, 5.8.6, 6.3.8)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from broker.contexts.jsonld import core_terms
from broker.entities import AttributeChange, ExpandedEntity, Instance
from broker.linked import linked_entities
from broker.subscriptions import (
    EntityEvent,
    NotificationContext,
    Subscription,
    expand_subscription,
    notification_body,
    notification_context,
    notification_data,
    notification_headers,
    read_subscription,
    shape,
    shared_part,
)
from schemas.terms import CORE_CONTEXT, DEFAULT_VOCABULARY, LOCATION, NULL

ID = "urn:ngsi-ld:River:1"
AT = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
AT_TEXT = "2026-06-01T12:00:00Z"
SYSTEM = {"createdAt": "2026-01-01T00:00:00Z", "modifiedAt": "2026-02-01T00:00:00Z"}
LEVEL, NAME, WITHIN = (DEFAULT_VOCABULARY + name for name in ("level", "name", "within"))
POINT = {"type": "Point", "coordinates": [138.4, 34.9]}

ENTITY = ExpandedEntity(
    ID,
    (DEFAULT_VOCABULARY + "River",),
    {
        LEVEL: {"@none": {"type": "Property", "value": 2.5, **SYSTEM}},
        NAME: {"@none": {"type": "LanguageProperty", "languageMap": {"ja": "巴川", "en": "Tomoe"}, **SYSTEM}},
        LOCATION: {"@none": {"type": "GeoProperty", "value": POINT, **SYSTEM}},
    },
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    modified_at=datetime(2026, 2, 1, tzinfo=UTC),
)
CORE = NotificationContext(core_terms(), CORE_CONTEXT, CORE_CONTEXT)


def subscription(accept: str = "application/json", **members: Any) -> Subscription:
    endpoint: dict[str, Any] = {"uri": "http://example.org/", "accept": accept}
    if "receiverInfo" in members:
        endpoint["receiverInfo"] = members.pop("receiverInfo")
    top = {
        name: members.pop(name) for name in ("watchedAttributes", "notificationTrigger", "datasetId") if name in members
    }
    body = {
        "type": "Subscription",
        "entities": [{"type": "River"}],
        **top,
        "notification": {"endpoint": endpoint, **members},
    }
    return read_subscription(expand_subscription(body, core_terms()), "urn:ngsi-ld:Subscription:1")


def changed(attribute: str, before: Instance | None, after: Instance | None, dataset: str = "@none") -> EntityEvent:
    return EntityEvent(1, ID, ENTITY.types, "updated", (AttributeChange(attribute, dataset, before, after),))


UPDATE = changed(LEVEL, {"type": "Property", "value": 2.0, **SYSTEM}, ENTITY.attributes[LEVEL]["@none"])
DELETION = EntityEvent(
    1,
    ID,
    ENTITY.types,
    "deleted",
    tuple(AttributeChange(name, "@none", group["@none"], None) for name, group in ENTITY.attributes.items()),
)


def notified(event: EntityEvent | None = UPDATE, entity: ExpandedEntity = ENTITY, **members: Any) -> dict[str, Any]:
    (data,) = notification_data(subscription(**members), [(entity, event)], [], core_terms(), AT)
    return data


def test_all_attributes_are_notified() -> None:
    assert notified() == {
        "id": ID,
        "type": "River",
        "level": {"type": "Property", "value": 2.5},
        "name": {"type": "LanguageProperty", "languageMap": {"ja": "巴川", "en": "Tomoe"}},
        "location": {"type": "GeoProperty", "value": POINT},
    }


def test_only_the_attributes_asked_for() -> None:
    assert notified(attributes=["level"]).keys() == {"id", "type", "level"}


def test_picked_members() -> None:
    assert notified(pick=["id", "level"]).keys() == {"id", "level"}


def test_omitted_members() -> None:
    assert notified(omit=["level", "type"]).keys() == {"id", "name", "location"}


def test_simplified() -> None:
    assert notified(format="keyValues", attributes=["level"])["level"] == 2.5


def test_system_attributes() -> None:
    entity = notified(sysAttrs=True)
    assert entity["createdAt"] == "2026-01-01T00:00:00Z"
    assert entity["level"]["modifiedAt"] == "2026-02-01T00:00:00Z"


def test_show_changes_adds_the_previous_value_to_what_changed() -> None:
    entity = notified(showChanges=True)
    assert entity["level"] == {"type": "Property", "value": 2.5, "previousValue": 2.0}
    assert "previousLanguageMap" not in entity["name"]


def test_show_changes_in_concise_form() -> None:
    assert notified(showChanges=True, format="concise")["level"] == {"value": 2.5, "previousValue": 2.0}


def test_creation_shows_no_previous_value() -> None:
    created = EntityEvent(
        1, ID, ENTITY.types, "created", (AttributeChange(LEVEL, "@none", None, ENTITY.attributes[LEVEL]["@none"]),)
    )
    assert "previousValue" not in notified(created, showChanges=True)["level"]


def without(name: str) -> ExpandedEntity:
    return ENTITY.with_attributes({key: group for key, group in ENTITY.attributes.items() if key != name})


@pytest.mark.parametrize(
    ("attribute", "before", "name", "expected"),
    [
        (LEVEL, {"type": "Property", "value": 2.5}, "level", {"type": "Property", "value": NULL}),
        (WITHIN, {"type": "Relationship", "object": "urn:x:1"}, "within", {"type": "Relationship", "object": NULL}),
        (
            NAME,
            {"type": "LanguageProperty", "languageMap": {"ja": "巴川"}},
            "name",
            {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
        ),
        (WITHIN, {"type": "JsonProperty", "json": {"a": 1}}, "within", {"type": "JsonProperty", "json": NULL}),
        (WITHIN, {"type": "VocabProperty", "vocab": LEVEL}, "within", {"type": "VocabProperty", "vocab": NULL}),
        (WITHIN, {"type": "ListProperty", "valueList": [1]}, "within", {"type": "ListProperty", "valueList": NULL}),
        (
            WITHIN,
            {"type": "ListRelationship", "objectList": ["urn:x:1"]},
            "within",
            {"type": "ListRelationship", "objectList": NULL},
        ),
    ],
)
def test_deleted_attribute_is_null(attribute: str, before: Instance, name: str, expected: dict[str, Any]) -> None:
    entity = notified(changed(attribute, before, None), without(attribute))
    assert entity[name] == expected


@pytest.mark.parametrize("form", ["simplified", "concise"])
def test_deleted_attribute_in_short_forms(form: str) -> None:
    assert (
        notified(changed(LEVEL, {"type": "Property", "value": 2.5}, None), without(LEVEL), format=form)["level"] == NULL
    )


def test_deleted_attribute_with_previous_value_and_times() -> None:
    event = changed(LEVEL, {"type": "Property", "value": 2.5, **SYSTEM}, None)
    entity = notified(event, without(LEVEL), showChanges=True, sysAttrs=True)
    expected = {"type": "Property", "value": NULL, "previousValue": 2.5, **SYSTEM, "deletedAt": AT_TEXT}
    assert entity["level"] == expected


def test_deleted_vocabulary_shows_the_short_name_of_the_previous_term() -> None:
    event = changed(WITHIN, {"type": "VocabProperty", "vocab": LEVEL}, None)
    assert notified(event, showChanges=True)["within"]["previousVocab"] == "level"


def test_deleted_instance_stands_beside_those_that_are_left() -> None:
    event = changed(LEVEL, {"type": "Property", "value": 9}, None, "urn:d:1")
    assert notified(event)["level"] == [
        {"type": "Property", "value": 2.5},
        {"type": "Property", "value": NULL, "datasetId": "urn:d:1"},
    ]
    assert notified(event, format="simplified")["level"] == {"dataset": {"@none": 2.5, "urn:d:1": NULL}}


def test_attribute_deleted_with_all_its_instances_is_one_null() -> None:
    before: Instance = {"type": "Property", "value": 9}
    changes = tuple(AttributeChange(LEVEL, dataset, before, None) for dataset in ("urn:d:1", "@none"))
    event = EntityEvent(1, ID, ENTITY.types, "updated", changes)
    assert notified(event, without(LEVEL))["level"] == {"type": "Property", "value": NULL}
    assert len(notified(event, without(LEVEL), showChanges=True)["level"]) == 2


def test_deleted_attribute_that_was_not_asked_for_is_not_told() -> None:
    assert "level" not in notified(
        changed(LEVEL, {"type": "Property", "value": 1}, None), without(LEVEL), attributes=["name"]
    )


def test_deleted_entity_is_only_its_time_of_deletion() -> None:
    assert notified(DELETION, notificationTrigger=["entityDeleted"]) == {
        "id": ID,
        "type": "River",
        "deletedAt": AT_TEXT,
    }


def test_deleted_entity_with_system_attributes() -> None:
    entity = notified(DELETION, notificationTrigger=["entityDeleted"], sysAttrs=True)
    assert entity.keys() == {"id", "type", "createdAt", "modifiedAt", "deletedAt"}


def test_deleted_entity_names_the_watched_attributes_that_went_with_it() -> None:
    entity = notified(DELETION, notificationTrigger=["attributeDeleted"], watchedAttributes=["level"])
    assert entity == {"id": ID, "type": "River", "deletedAt": AT_TEXT, "level": {"type": "Property", "value": NULL}}


def test_deleted_entity_with_show_changes_has_all_previous_values() -> None:
    entity = notified(DELETION, notificationTrigger=["entityDeleted"], showChanges=True)
    assert entity["level"] == {"type": "Property", "value": NULL, "previousValue": 2.5}
    assert entity["location"] == {"type": "GeoProperty", "value": NULL, "previousValue": POINT}


def test_only_instances_of_the_datasets() -> None:
    level = {"@none": {"type": "Property", "value": 1}, "urn:d:1": {"type": "Property", "value": 2}}
    entity = notified(entity=ENTITY.with_attributes({LEVEL: level}), datasetId=["urn:d:1"])
    assert entity["level"] == {"type": "Property", "value": 2, "datasetId": "urn:d:1"}


def body_of(accept: str, **members: Any) -> dict[str, Any]:
    wanted = subscription(accept, **members)
    data = notification_data(wanted, [(ENTITY, UPDATE)], [], core_terms(), AT)
    part = shared_part(wanted, data, CORE)
    body: dict[str, Any] = orjson.loads(notification_body(wanted, part, CORE, "urn:ngsi-ld:Notification:1", AT))
    return body


def test_body() -> None:
    body = body_of("application/json", attributes=["level"])
    assert body == {
        "id": "urn:ngsi-ld:Notification:1",
        "type": "Notification",
        "subscriptionId": "urn:ngsi-ld:Subscription:1",
        "notifiedAt": AT_TEXT,
        "data": [{"id": ID, "type": "River", "level": {"type": "Property", "value": 2.5}}],
    }


def test_json_ld_carries_its_context_in_the_body_and_no_link() -> None:
    body = body_of("application/ld+json")
    assert body["@context"] == CORE_CONTEXT
    assert body["data"][0]["@context"] == CORE_CONTEXT
    assert "Link" not in notification_headers(subscription("application/ld+json").endpoint, CORE, None)


def test_json_links_to_its_context() -> None:
    headers = notification_headers(subscription().endpoint, CORE, None)
    assert headers == {
        "Content-Type": "application/json",
        "Link": f'<{CORE_CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
    }


def test_geojson() -> None:
    collection = body_of("application/geo+json", attributes=["level"])["data"]
    assert collection["type"] == "FeatureCollection"
    assert collection["@context"] == CORE_CONTEXT
    feature = collection["features"][0]
    assert (feature["id"], feature["type"], feature["geometry"]) == (ID, "Feature", POINT)
    assert feature["properties"].keys() == {"type", "level"}


def test_geojson_with_the_preference_for_json_has_a_link_instead() -> None:
    prefer = [{"key": "Prefer", "value": "body=json"}]
    assert "@context" not in body_of("application/geo+json", receiverInfo=prefer)["data"]
    headers = notification_headers(subscription("application/geo+json", receiverInfo=prefer).endpoint, CORE, None)
    assert "Link" in headers


def test_receiver_info_and_tenant_are_headers() -> None:
    endpoint = subscription(receiverInfo=[{"key": "Authorization", "value": "Bearer x"}]).endpoint
    headers = notification_headers(endpoint, CORE, "shizuoka")
    assert (headers["Authorization"], headers["NGSILD-Tenant"]) == ("Bearer x", "shizuoka")


def test_plain_json_without_a_context_url_has_full_names() -> None:
    inline = {"level": "https://example.org/level"}
    context = notification_context(inline, core_terms(), core_terms(), "application/json")
    assert (context.terms, context.url) == (core_terms(), CORE_CONTEXT)
    assert notification_context(inline, core_terms(), core_terms(), "application/ld+json").context == inline


BASIN = DEFAULT_VOCABULARY + "basin"
BASIN_OF_RIVER = ExpandedEntity(
    "urn:ngsi-ld:Basin:1",
    (DEFAULT_VOCABULARY + "Basin",),
    {
        DEFAULT_VOCABULARY + "name": {"@none": {"type": "Property", "value": "Kano"}},
        DEFAULT_VOCABULARY + "area": {"@none": {"type": "Property", "value": 852}},
    },
)
IN_BASIN = ENTITY.with_attributes({BASIN: {"@none": {"type": "Relationship", "object": BASIN_OF_RIVER.id}}})


async def joined(**members: Any) -> list[dict[str, Any]]:
    """A notification about the river in a basin, with the entities that the join asks for."""
    wanted = subscription(**members)

    async def fetch(ids: Collection[str]) -> dict[str, ExpandedEntity]:
        return {BASIN_OF_RIVER.id: BASIN_OF_RIVER} if BASIN_OF_RIVER.id in ids else {}

    linked = await linked_entities([IN_BASIN], wanted.form, wanted.retrieval, fetch)
    return notification_data(wanted, [(IN_BASIN, None)], linked, core_terms(), AT)


async def test_flat_join_puts_linked_entities_behind() -> None:
    river, basin = await joined(join="flat", format="keyValues", attributes=["basin"])
    assert river["basin"] == BASIN_OF_RIVER.id
    assert basin == {"id": BASIN_OF_RIVER.id, "type": "Basin", "name": "Kano", "area": 852}


async def test_inline_join_writes_linked_entities_into_relationships() -> None:
    (river,) = await joined(join="inline", attributes=["basin"], showChanges=True)
    assert river["basin"]["entity"]["name"] == {"type": "Property", "value": "Kano"}


async def test_members_of_linked_entities_are_picked() -> None:
    (river,) = await joined(join="inline", pick=["id", "basin{name}"], format="simplified")
    assert river == {"id": ENTITY.id, "basin": {"name": "Kano"}}


async def test_flat_join_as_geojson_is_a_feature_each() -> None:
    data = await joined(accept="application/geo+json", join="flat")
    assert [feature["type"] for feature in data] == ["Feature", "Feature"]


@pytest.mark.parametrize(
    "members",
    [{"format": "concise"}, {"attributes": ["level"]}, {"accept": "application/ld+json"}, {"showChanges": True},
     {"sysAttrs": True}, {"datasetId": ["urn:d:1"]}, {"join": "flat"}, {"pick": ["id"]}],
)  # fmt: skip
def test_what_is_written_differently_has_another_shape(members: dict[str, Any]) -> None:
    assert shape(subscription(**members), CORE_CONTEXT) != shape(subscription(), CORE_CONTEXT)


def test_what_is_written_alike_has_the_same_shape() -> None:
    one, other = subscription(watchedAttributes=["level"]), subscription(receiverInfo=[{"key": "A", "value": "b"}])
    assert shape(one, CORE_CONTEXT) == shape(other, CORE_CONTEXT)
    assert shape(one, CORE_CONTEXT) != shape(other, [CORE_CONTEXT, {"level": "https://example.org/level"}])
