# SPDX-License-Identifier: Apache-2.0
"""Notifications as they leave the hub (clauses 5.3.1, 5.8.6 and 6.3.8): body and headers. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from broker.contexts.jsonld import TermMap
from broker.entities import VALUE_MEMBER, AttributeChange, AttributeKind, ExpandedEntity, Instance
from broker.linked import Inliner, Join, Linked, LinkedForm, flattened
from broker.representations import (
    Form,
    Representation,
    feature_collection,
    represent,
    represent_feature,
    represent_instance,
    select_geometry,
)
from broker.sealed import Stored, plain
from broker.subscriptions.matching import EntityEvent, kind_of
from broker.subscriptions.model import Endpoint, Subscription, Trigger
from broker.times import to_text
from schemas.contexts import context_url
from schemas.terms import CONTEXT_LINK_REL, CORE_CONTEXT, GEO_JSON, JSON, JSON_LD, LOCATION, NO_DATASET, NULL

# The member that holds the value before the change (clause 4.5.2.2 and its siblings).
PREVIOUS_MEMBER: Final[dict[str, str]] = {
    "value": "previousValue",
    "object": "previousObject",
    "languageMap": "previousLanguageMap",
    "vocab": "previousVocab",
    "json": "previousJson",
    "valueList": "previousValueList",
    "objectList": "previousObjectList",
}


@dataclass(frozen=True, slots=True)
class NotificationContext:
    """The ``@context`` of a subscription's notifications: its term map, and the URL for a Link header.

    When no single URL stands for it, receivers of plain JSON could not be told what names mean: they get the core
    context and full IRIs.
    """

    terms: TermMap
    context: Any
    url: str


def notification_context(context: Any, terms: TermMap, core: TermMap, accept: str) -> NotificationContext:
    """The context to notify with: ``terms`` are those of ``context``, ``core`` those of the core context."""
    url = context_url(context)
    if url is None and accept == JSON:
        return NotificationContext(core, CORE_CONTEXT, CORE_CONTEXT)
    return NotificationContext(terms, CORE_CONTEXT if context in (None, []) else context, url or CORE_CONTEXT)


def shared_part(subscription: Subscription, data: list[dict[str, Any]], context: NotificationContext) -> bytes:
    """``data`` as JSON, as it stands in a body: the same for all subscriptions of the same :func:`shape`."""
    accept = subscription.endpoint.accept
    if accept == GEO_JSON:
        collection = feature_collection(data)
        if not _prefers_json(subscription.endpoint):
            collection["@context"] = context.context
        return orjson.dumps(collection)
    if accept == JSON_LD:
        return orjson.dumps([{**entity, "@context": context.context} for entity in data])
    return orjson.dumps(data)


def notification_body(
    subscription: Subscription, data: bytes, context: NotificationContext, notification_id: str, notified_at: datetime
) -> bytes:
    """The body of a notification with the entities ``data``, as :func:`shared_part` makes them."""
    body: dict[str, Any] = {
        "id": notification_id,
        "type": "Notification",
        "subscriptionId": subscription.id,
        "notifiedAt": to_text(notified_at),
        "data": orjson.Fragment(data),
    }
    if subscription.endpoint.accept == JSON_LD:
        body["@context"] = context.context
    return orjson.dumps(body)


def shape(subscription: Subscription, context: Any) -> bytes:
    """What notifications of a subscription look like: where it is the same, so is :func:`shared_part` of a change."""
    form = subscription.form
    parts = (
        orjson.dumps(context, option=orjson.OPT_SORT_KEYS).decode(),
        subscription.endpoint.accept,
        _prefers_json(subscription.endpoint),
        subscription.show_changes,
        subscription.retrieval,
        sorted(subscription.triggers),
        sorted(subscription.watched or ()) if Trigger.ENTITY_DELETED in subscription.triggers else None,
        _described(form.representation),
        id(form) if form.linked else None,
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def _described(options: Representation) -> list[Any]:
    """The options of a representation in an order of their own, since sets have none."""
    values = (getattr(options, name) for name in Representation.__slots__)
    return [sorted(value) if isinstance(value, frozenset) else value for value in values]


def notification_headers(endpoint: Endpoint, context: NotificationContext, tenant: str | None) -> dict[str, Stored]:
    """The headers of a notification; ``tenant`` is None for the default tenant (clause 6.3.14)."""
    headers: dict[str, Stored] = {"Content-Type": endpoint.accept}
    if endpoint.accept == JSON or (endpoint.accept == GEO_JSON and _prefers_json(endpoint)):
        headers["Link"] = f'<{context.url}>; rel="{CONTEXT_LINK_REL}"; type="{JSON_LD}"'
    if tenant is not None:
        headers["NGSILD-Tenant"] = tenant
    return headers | dict(endpoint.receiver_info)


def _prefers_json(endpoint: Endpoint) -> bool:
    preferred = (plain(value).strip() for name, value in endpoint.receiver_info if name.lower() == "prefer")
    return "body=json" in preferred


Root = tuple[ExpandedEntity, EntityEvent | None]


def notification_data(
    subscription: Subscription,
    roots: Sequence[Root],
    linked: Sequence[Linked],
    terms: TermMap,
    event_time: datetime | None = None,
) -> list[dict[str, Any]]:
    """The entities of a notification: ``roots``, each with what happened to it, and what is ``linked`` to them.

    Linked entities are written into the Relationships that point at them or, flat, behind the roots (clause 4.5.23).
    Raises :class:`TooManyResults`.
    """
    join = subscription.retrieval.join
    if join is Join.INLINE:
        inliner = Inliner(linked, subscription.retrieval, terms)
        roots = [(inliner.inlined(root, subscription.form), event) for root, event in roots]
    data = [notified_entity(subscription, root, event, terms, event_time) for root, event in roots]
    if join is Join.FLAT:
        told = {root.id for root, _ in roots}
        others = flattened([root for root, _ in roots], subscription.form, linked)
        data += [_written(subscription, entity, form, terms) for entity, form in others if entity.id not in told]
    return data


def _written(subscription: Subscription, entity: ExpandedEntity, form: LinkedForm, terms: TermMap) -> dict[str, Any]:
    if subscription.endpoint.accept == GEO_JSON:
        return represent_feature(entity, terms, form.representation)
    return represent(entity, terms, form.representation)


def notified_entity(
    subscription: Subscription,
    entity: ExpandedEntity,
    event: EntityEvent | None,
    terms: TermMap,
    event_time: datetime | None = None,
) -> dict[str, Any]:
    """``entity`` as ``subscription`` wants it after ``event`` (None: periodic, without any change).

    For a deletion ``entity`` is the state before it, and ``event_time`` is when it happened.
    """
    options = subscription.representation
    if event is None:
        result = represent(entity, terms, options)
    elif event.operation == "deleted":
        result = _deleted_entity(subscription, entity, event, terms, event_time)
    else:
        if subscription.show_changes:
            entity = entity.with_attributes(_with_previous(entity, event.changes, terms, options))
        result = represent(entity, terms, options)
        _add_deleted(result, subscription, entity, event, terms, event_time)
    if subscription.endpoint.accept == GEO_JSON:
        return _feature(result, entity, options)
    return result


def _feature(properties: dict[str, Any], entity: ExpandedEntity, options: Representation) -> dict[str, Any]:
    """Clause 4.5.16.2."""
    properties.pop("id", None)
    geometry = select_geometry(entity, LOCATION, options.datasets)
    return {"id": entity.id, "type": "Feature", "geometry": geometry, "properties": properties}


def _deleted_entity(
    subscription: Subscription, entity: ExpandedEntity, event: EntityEvent, terms: TermMap, event_time: datetime | None
) -> dict[str, Any]:
    """A deleted entity: that it is gone, and its attributes when they were asked for (clause 5.8.6)."""
    options = subscription.representation
    result = represent(entity.with_attributes({}), terms, options)
    if event_time is not None:
        result["deletedAt"] = to_text(event_time)
    if subscription.show_changes or Trigger.ATTRIBUTE_DELETED in subscription.triggers:
        _add_deleted(result, subscription, entity.with_attributes({}), event, terms, event_time)
    return result


def _add_deleted(
    result: dict[str, Any],
    subscription: Subscription,
    entity: ExpandedEntity,
    event: EntityEvent,
    terms: TermMap,
    event_time: datetime | None,
) -> None:
    """Put the deleted attribute instances beside what is left of their attributes."""
    options = subscription.representation
    gone: dict[str, list[AttributeChange]] = {}
    for change in event.changes:
        if kind_of(change) is Trigger.ATTRIBUTE_DELETED and _is_told(change, subscription, event):
            gone.setdefault(change.attribute, []).append(change)
    for attribute, changes in gone.items():
        left = entity.attributes.get(attribute, {})
        if not left and not subscription.show_changes:
            changes = [_whole_attribute(changes)]
        if options.datasets is not None:
            left = {name: item for name, item in left.items() if name in options.datasets}
        parts = {name: represent_instance(item, name, terms, options) for name, item in left.items()}
        for change in changes:
            parts[change.dataset] = _deleted_instance(change, subscription, terms, event_time)
        result[terms.compact_iri(attribute)] = _joined(parts, options)


def _whole_attribute(changes: list[AttributeChange]) -> AttributeChange:
    """An attribute that went with all its instances is one Null; datasetIds have nothing to tell apart any more."""
    first = changes[0]
    return first if len(changes) == 1 else AttributeChange(first.attribute, NO_DATASET, first.before, None)


def _is_told(change: AttributeChange, subscription: Subscription, event: EntityEvent) -> bool:
    """Whether a deleted instance is named: projected, and, of a deleted entity, watched."""
    options = subscription.representation
    if not options.writes(change.attribute) or (options.attrs is not None and change.attribute not in options.attrs):
        return False
    if options.datasets is not None and change.dataset not in options.datasets:
        return False
    return event.operation != "deleted" or subscription.watched is None or change.attribute in subscription.watched


def _joined(parts: dict[str, Any], options: Representation) -> Any:
    if len(parts) == 1:
        return next(iter(parts.values()))
    return {"dataset": parts} if options.form is Form.SIMPLIFIED else list(parts.values())


def _deleted_instance(
    change: AttributeChange, subscription: Subscription, terms: TermMap, event_time: datetime | None
) -> Any:
    """A deleted attribute instance: NGSI-LD Null, with as much around it as was asked for (clause 5.8.6)."""
    options = subscription.representation
    before = change.before or {}
    if options.form is Form.SIMPLIFIED:
        return NULL
    kind = before["type"]
    member = VALUE_MEMBER[kind]
    details: dict[str, Any] = {}
    if change.dataset != NO_DATASET:
        details["datasetId"] = change.dataset
    if options.sys_attrs:
        details |= {name: before[name] for name in ("createdAt", "modifiedAt") if name in before}
        if event_time is not None:
            details["deletedAt"] = to_text(event_time)
    if subscription.show_changes:
        details[PREVIOUS_MEMBER[member]] = _previous(before, terms, options)
    if options.form is Form.CONCISE and not details:
        return NULL
    null: Any = {NO_DATASET: NULL} if kind == AttributeKind.LANGUAGE_PROPERTY else NULL
    typed = {"type": kind} if options.form is Form.NORMALIZED else {}
    return {**typed, member: null, **details}


def _with_previous(
    entity: ExpandedEntity, changes: Iterable[AttributeChange], terms: TermMap, options: Representation
) -> dict[str, dict[str, Instance]]:
    """The attributes, with the value before the change in each instance that changed."""
    attributes = dict(entity.attributes)
    for change in changes:
        if change.before is None or change.after is None or kind_of(change) is None:
            continue
        instance = attributes.get(change.attribute, {}).get(change.dataset)
        if instance is not None:
            previous = PREVIOUS_MEMBER[VALUE_MEMBER[change.before["type"]]]
            shown = {**instance, previous: _previous(change.before, terms, options)}
            attributes[change.attribute] = {**attributes[change.attribute], change.dataset: shown}
    return attributes


def _previous(before: Instance, terms: TermMap, options: Representation) -> Any:
    """The value of an instance, in the form of ``options``."""
    kind = before["type"]
    value = before.get(VALUE_MEMBER[kind])
    if kind == AttributeKind.VOCAB_PROPERTY:
        return [terms.compact_iri(item) for item in value] if isinstance(value, list) else terms.compact_iri(str(value))
    if kind == AttributeKind.LIST_RELATIONSHIP and options.form is Form.NORMALIZED and isinstance(value, list):
        return [{"object": uri} for uri in value]
    return value
