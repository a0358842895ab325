# SPDX-License-Identifier: Apache-2.0
"""Subscription documents: what is accepted, what is stored, what clients see (clauses 5.2.12 to 5.2.15, 5.2.33)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.contexts.jsonld import ContextResolver, TermMap, core_terms
from broker.errors import BadRequestData
from broker.representations import Form
from broker.subscriptions import (
    Subscription,
    SubscriptionCounters,
    Trigger,
    check_expiry,
    expand_subscription,
    merge,
    read_subscription,
    represent_subscription,
)
from schemas.terms import DEFAULT_VOCABULARY, NULL

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ID = "urn:ngsi-ld:Subscription:1"
ENDPOINT = {"uri": "http://example.org/notify"}
LEVEL = DEFAULT_VOCABULARY + "level"


def body(**members: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "type": "Subscription",
        "entities": [{"type": "River"}],
        "notification": {"endpoint": ENDPOINT},
    }
    return {name: value for name, value in (base | members).items() if value is not None}


def notification(**members: Any) -> dict[str, Any]:
    return body(notification={"endpoint": ENDPOINT, **members})


def read(document: Any, terms: TermMap | None = None) -> Subscription:
    return read_subscription(expand_subscription(document, terms or core_terms()), ID)


async def other_terms() -> TermMap:
    return await ContextResolver().resolve({"level": "https://example.org/level", "River": "https://example.org/River"})


def test_minimal_subscription_has_the_default_triggers() -> None:
    subscription = read(body())
    assert subscription.triggers == {Trigger.ATTRIBUTE_CREATED, Trigger.ATTRIBUTE_UPDATED}
    assert subscription.watched is None
    assert subscription.is_active


def test_names_are_expanded() -> None:
    subscription = read(body(watchedAttributes=["level"], q="level>2"))
    assert subscription.watched == {LEVEL}
    assert LEVEL in repr(subscription.query.q)
    assert DEFAULT_VOCABULARY + "River" in repr(subscription.query.selectors)


def test_stored_document_means_the_same_without_the_context_it_came_with() -> None:
    document = expand_subscription(body(q="level>2;flow<3", entities=[{"type": "River|Canal"}]), core_terms())
    assert (
        read_subscription(document, ID).query
        == read(body(q="level>2;flow<3", entities=[{"type": "River|Canal"}])).query
    )


async def test_names_are_compacted_with_the_terms_of_the_reader() -> None:
    document = expand_subscription(
        body(entities=[{"type": "(River;Tidal)|Canal"}], watchedAttributes=["level"]), core_terms()
    )
    shown = represent_subscription(document, ID, SubscriptionCounters(), core_terms(), NOW)
    assert shown["entities"] == [{"type": "(River;Tidal)|Canal"}]
    assert shown["watchedAttributes"] == ["level"]
    elsewhere = represent_subscription(document, ID, SubscriptionCounters(), await other_terms(), NOW)
    assert elsewhere["watchedAttributes"] != ["level"]


def test_entity_updated_is_the_three_attribute_triggers() -> None:
    assert read(body(notificationTrigger=["entityUpdated"])).triggers == {
        Trigger.ATTRIBUTE_CREATED,
        Trigger.ATTRIBUTE_UPDATED,
        Trigger.ATTRIBUTE_DELETED,
    }


def test_percent_encoded_query_is_decoded() -> None:
    assert read(body(q='name=="Eiffel%20Tower"')).query == read(body(q='name=="Eiffel Tower"')).query


@pytest.mark.parametrize(("name", "form"), [("keyValues", Form.SIMPLIFIED), ("simplified", Form.SIMPLIFIED),
                                            ("concise", Form.CONCISE), ("normalized", Form.NORMALIZED)])  # fmt: skip
def test_format(name: str, form: Form) -> None:
    assert read(notification(format=name)).representation.form is form


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "is not a JSON object"),
        ({}, "type"),
        (body(type="Subscriptions"), "type"),
        (body(notification=None), "notification"),
        (body(notification={}), "notification.endpoint.uri"),
        (body(notification={"endpoint": {"accept": "application/json"}}), "notification.endpoint.uri"),
        (body(notification={"endpoint": {"uri": "nowhere"}}), "notification.endpoint.uri"),
        (body(notification={"endpoint": {"uri": "ftp://example.org/"}}), "notification.endpoint.uri"),
        (body(notification={"endpoint": None}), "notification.endpoint"),
        (notification(format="csv"), "notification.format"),
        (notification(attributes=[]), "notification.attributes"),
        (notification(pick=[]), "notification.pick"),
        (notification(omit=[]), "notification.omit"),
        (notification(pick=["id"], omit=["id"]), "notification.omit"),
        (notification(pick=["level"], attributes=["level"]), "notification.pick"),
        (notification(omit=["level"], attributes=["level"]), "notification.omit"),
        (notification(attributes=["id"]), "notification.attributes[0]"),
        (notification(showChanges=True, format="keyValues"), "notification.showChanges"),
        (notification(showChanges=True, format="simplified"), "notification.showChanges"),
        (notification(sysAttrs="yes"), "notification.sysAttrs"),
        (body(entities=None), "entities"),
        (body(entities=[]), "entities"),
        (body(entities=[{"id": "urn:x:1"}]), "entities[0]"),
        (body(entities=[{"type": "River", "id": "no uri"}]), "entities[0].id"),
        (body(entities=[{"type": "River", "idPattern": "("}]), "idPattern"),
        (body(entities=[{"type": "((River"}]), "entities[0].type"),
        (body(watchedAttributes=[]), "watchedAttributes"),
        (body(watchedAttributes=["a b"]), "watchedAttributes[0]"),
        (body(watchedAttribute=["level"]), "watchedAttribute"),
        (body(notificationTrigger=["entityChanged"]), "notificationTrigger[0]"),
        (body(q="(("), "q"),
        (body(csf="(("), "csf"),
        (body(scopeQ="//"), "scopeQ"),
        (body(geoQ={"georel": "within"}), "geoQ.geometry"),
        (body(geoQ={"georel": "around", "geometry": "Point", "coordinates": [0, 0]}), "georel"),
        (body(throttling=0), "throttling"),
        (body(throttling=-5), "throttling"),
        (body(throttling=True), "throttling"),
        (body(timeInterval=5, throttling=5), "throttling"),
        (body(timeInterval=5, watchedAttributes=["level"]), "watchedAttributes"),
        (body(timeInterval=5, entities=None, watchedAttributes=["level"]), "watchedAttributes"),
        (body(expiresAt="tomorrow"), "expiresAt"),
        (body(isActive="yes"), "isActive"),
        (body(jsonldContext="unknownContext"), "jsonldContext"),
        (body(subscriptionName=NULL), "subscriptionName"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused_with_its_path(document: Any, path: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        read(document)
    assert path in refused.value.detail


@pytest.mark.parametrize(
    "pair",
    [
        {"key": "K", "value": 42},
        {"key": "K", "value": {"a": 1}},
        {"key": "K"},
        {"key": 5, "value": "v"},
        {"key": "Host", "value": "internal"},
        {"key": "content-length", "value": "1"},
        {"key": "Minamo-Sequence", "value": "1"},
        {"key": "K\r\nX", "value": "v"},
        {"key": "K", "value": "v\r\nX: y"},
        {"key": "K", "value": "水"},
    ],
)
def test_receiver_info_that_is_no_header_of_the_subscriber_is_refused(pair: Any) -> None:
    with pytest.raises(BadRequestData, match="receiverInfo"):
        read(body(notification={"endpoint": {**ENDPOINT, "receiverInfo": [pair]}}))


def test_join_has_a_level() -> None:
    retrieval = read(notification(join="flat", joinLevel=2)).retrieval
    assert (retrieval.join, retrieval.depth) == ("flat", 2)


def test_selections_from_linked_entities_come_back_as_they_were_given() -> None:
    document = expand_subscription(notification(join="inline", pick=["id", "basin{name,scope}"]), core_terms())
    shown = represent_subscription(document, ID, SubscriptionCounters(), core_terms(), NOW)
    assert shown["notification"]["pick"] == ["id", "basin{name,scope}"]


@pytest.mark.parametrize("members", [{"pick": ["basin{name}"]}, {"join": "flat", "omit": ["basin{river{name}}"]}])
def test_a_selection_from_linked_entities_needs_a_join_that_reaches_them(members: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData, match="joinLevel"):
        read(notification(**members))


def test_read_only_and_foreign_members_are_ignored() -> None:
    document = body(__context="x", status="expired", notification={"endpoint": ENDPOINT, "timesSent": 42})
    shown = represent_subscription(
        expand_subscription(document, core_terms()), ID, SubscriptionCounters(), core_terms(), NOW
    )
    assert shown["status"] == "active"
    assert "__context" not in shown
    assert "timesSent" not in shown["notification"]


def test_expiry_in_the_past_is_refused() -> None:
    with pytest.raises(BadRequestData, match="expiresAt"):
        check_expiry(expand_subscription(body(expiresAt="2026-06-01T11:59:59Z"), core_terms()), NOW)


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({}, "active"),
        ({"isActive": False}, "paused"),
        ({"expiresAt": "2026-06-01T11:00:00Z"}, "expired"),
        ({"expiresAt": "2026-06-01T13:00:00Z"}, "active"),
    ],
)
def test_status(members: dict[str, Any], status: str) -> None:
    document = expand_subscription(body(**members), core_terms())
    assert represent_subscription(document, ID, SubscriptionCounters(), core_terms(), NOW)["status"] == status
    assert read_subscription(document, ID).is_live(NOW) is (status == "active")


def test_counters_are_shown_when_there_is_something_to_show() -> None:
    document = expand_subscription(body(), core_terms())
    counters = SubscriptionCounters(3, 1, NOW, NOW - timedelta(seconds=5), NOW)
    shown = represent_subscription(document, ID, counters, core_terms(), NOW)["notification"]
    assert shown["timesSent"] == 3
    assert shown["timesFailed"] == 1
    assert shown["status"] == "failed"
    assert shown["lastSuccess"] == "2026-06-01T11:59:55Z"


def test_fragment_replaces_members_as_a_whole() -> None:
    document = expand_subscription(notification(format="keyValues"), core_terms())
    fragment = expand_subscription({"notification": {"endpoint": ENDPOINT}}, core_terms(), fragment=True)
    assert read_subscription(merge(document, fragment), ID).representation.form is Form.NORMALIZED


def test_fragment_removes_members_set_to_null() -> None:
    document = expand_subscription(body(q="level>2"), core_terms())
    fragment = expand_subscription({"type": "Subscription", "q": NULL}, core_terms(), fragment=True)
    assert read_subscription(merge(document, fragment), ID).query.q is None


def test_fragment_cannot_take_away_what_is_mandatory() -> None:
    document = expand_subscription(body(), core_terms())
    fragment = expand_subscription({"notification": NULL}, core_terms(), fragment=True)
    with pytest.raises(BadRequestData, match="notification"):
        read_subscription(merge(document, fragment), ID)
