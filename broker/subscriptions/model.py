# SPDX-License-Identifier: Apache-2.0
"""What a subscription asks for (clause 5.2.12), read from its stored document, and how it is shown to clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from broker.contexts.jsonld import TermMap
from broker.document_members import Document
from broker.errors import BadRequestData
from broker.linked import MAX_JOIN_LEVEL, Join, LinkedForm, LinkedRetrieval
from broker.query import EntityQuery, EntitySelector, compile_query, linked_depth, parse_geo, parse_q, parse_scopes
from broker.query.tree import GeoQuery, QueryTree
from broker.representations import Form, Representation, parse_language_filter
from broker.sealed import Stored
from broker.subscriptions.document import DEFAULT_TRIGGERS, compact_document, names_of_values, read_types
from broker.subscriptions.projection import StoredMember, linked_form, selection_depth
from broker.subscriptions.sending import PULLED_URI
from broker.times import parse_time, to_text
from broker.validation import fault
from schemas.terms import JSON

_FORMS: Final = {
    "normalized": Form.NORMALIZED,
    "concise": Form.CONCISE,
    "simplified": Form.SIMPLIFIED,
    "keyValues": Form.SIMPLIFIED,
}


PRIORITY_KEY: Final = "Minamo-Priority"  # in notifierInfo
_PRIORITIES: Final = ("normal", "bulk")


class Trigger(StrEnum):
    """The kinds of changes that notify; ``entityUpdated`` is the three of attributes together."""

    ENTITY_CREATED = "entityCreated"
    ENTITY_DELETED = "entityDeleted"
    ATTRIBUTE_CREATED = "attributeCreated"
    ATTRIBUTE_UPDATED = "attributeUpdated"
    ATTRIBUTE_DELETED = "attributeDeleted"


_ATTRIBUTE_TRIGGERS: Final = frozenset(
    {Trigger.ATTRIBUTE_CREATED, Trigger.ATTRIBUTE_UPDATED, Trigger.ATTRIBUTE_DELETED}
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where notifications go. ``receiver_info`` are HTTP headers (clause 6.3.8)."""

    uri: str
    accept: str = JSON
    receiver_info: tuple[tuple[str, Stored], ...] = ()
    notifier_info: tuple[tuple[str, str], ...] = ()

    @property
    def is_bulk(self) -> bool:
        """Whether the receiver says that its notifications may wait for all others."""
        return (PRIORITY_KEY, "bulk") in self.notifier_info


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as matching and notifying need it; names are IRIs, ``triggers`` never hold ``entityUpdated``."""

    id: str
    endpoint: Endpoint
    form: LinkedForm
    retrieval: LinkedRetrieval = field(default_factory=LinkedRetrieval)
    query: EntityQuery = field(default_factory=EntityQuery)
    watched: frozenset[str] | None = None
    triggers: frozenset[Trigger] = frozenset({Trigger.ATTRIBUTE_CREATED, Trigger.ATTRIBUTE_UPDATED})
    show_changes: bool = False
    is_active: bool = True
    expires_at: datetime | None = None
    throttling: timedelta | None = None
    time_interval: timedelta | None = None

    @property
    def representation(self) -> Representation:
        """How the entities themselves are written, linked ones aside."""
        return self.form.representation

    def is_live(self, now: datetime) -> bool:
        """Whether notifications are sent at ``now`` (clause 5.8.6)."""
        return self.is_active and (self.expires_at is None or now < self.expires_at)


def read_subscription(document: Document, subscription_id: str) -> Subscription:
    """Read a stored document. Raises :class:`BadRequestData` when members do not go together (clause 5.2.12)."""
    _check_combinations(document)
    notification = document["notification"]
    endpoint = _endpoint(notification["endpoint"])
    return Subscription(
        id=subscription_id,
        endpoint=endpoint,
        form=_form(document, notification),
        retrieval=LinkedRetrieval(Join(notification.get("join", Join.NONE)), notification.get("joinLevel", 1)),
        query=_entity_query(document),
        watched=frozenset(document["watchedAttributes"]) if "watchedAttributes" in document else None,
        triggers=_triggers(document.get("notificationTrigger", DEFAULT_TRIGGERS)),
        show_changes=notification.get("showChanges", False),
        is_active=document.get("isActive", True),
        expires_at=expiry(document),
        throttling=_seconds(document, "throttling"),
        time_interval=_seconds(document, "timeInterval"),
    )


def expiry(document: Document) -> datetime | None:
    """When the subscription expires; None when it is perpetual."""
    return parse_time(document["expiresAt"]) if "expiresAt" in document else None


def check_expiry(document: Document, now: datetime) -> None:
    """Raise :class:`BadRequestData` when the document comes with an ``expiresAt`` in the past (5.8.1.4, 5.8.2.4)."""
    expires_at = expiry(document)
    if expires_at is not None and expires_at <= now:
        raise fault("expiresAt", f"{document['expiresAt']} is in the past")


def _check_combinations(document: Document) -> None:
    if "notification" not in document:
        raise BadRequestData('A subscription needs a "notification"')
    if "uri" not in document["notification"].get("endpoint", {}):
        raise fault("notification.endpoint.uri", "the address of the receiver is missing")
    local = document.get("localOnly", False)
    if not local and "entities" not in document and "watchedAttributes" not in document:
        raise BadRequestData('A subscription needs "entities" or "watchedAttributes"')
    if "timeInterval" in document:
        for name in ("watchedAttributes", "throttling"):
            if name in document:
                raise fault(name, "it cannot be given together with timeInterval")
        if not local and "entities" not in document:
            raise fault("timeInterval", 'it needs "entities"')
    _check_projection(document["notification"])


def _check_projection(notification: Document) -> None:
    if notification.get("showChanges") and _FORMS[notification.get("format", "normalized")] is Form.SIMPLIFIED:
        raise fault("notification.showChanges", "the simplified format cannot show changes")
    for name in ("pick", "omit"):
        if name in notification and "attributes" in notification:
            raise fault(f"notification.{name}", "it cannot be given together with attributes")
    both = _names(notification.get("pick", ())) & _names(notification.get("omit", ()))
    if both:
        raise fault("notification.omit", f"{min(both)} is picked and omitted")
    _check_join(notification)


def _names(members: Sequence[StoredMember]) -> set[str]:
    return {member for member in members if isinstance(member, str)}


def _check_join(notification: Document) -> None:
    level = notification.get("joinLevel", 1)
    if level > MAX_JOIN_LEVEL:
        raise fault("notification.joinLevel", f"at most {MAX_JOIN_LEVEL} Relationships are followed")
    depth = level if notification.get("join", "@none") != "@none" else 0
    for name in ("pick", "omit"):
        if selection_depth(notification.get(name, ())) > depth:
            raise fault(
                f"notification.{name}",
                "it names members of linked entities, which needs a join with a joinLevel of as many steps",
            )


def _endpoint(stored: Document) -> Endpoint:
    scheme = urlsplit(stored["uri"]).scheme.lower()
    if scheme not in ("http", "https", "mqtt", "mqtts") and stored["uri"] != PULLED_URI:
        raise fault("notification.endpoint.uri", f"it is neither an http, https, mqtt nor mqtts URI, nor {PULLED_URI}")
    for pair in stored.get("notifierInfo", ()):
        if pair["key"] == PRIORITY_KEY and pair["value"] not in _PRIORITIES:
            raise fault("notification.endpoint.notifierInfo", f"{PRIORITY_KEY} is one of {', '.join(_PRIORITIES)}")
    return Endpoint(
        uri=stored["uri"],
        accept=stored.get("accept", JSON),
        receiver_info=tuple((pair["key"], pair["value"]) for pair in stored.get("receiverInfo", ())),
        notifier_info=tuple((pair["key"], pair["value"]) for pair in stored.get("notifierInfo", ())),
    )


def _form(document: Document, notification: Document) -> LinkedForm:
    base = Representation(
        form=_FORMS[notification.get("format", "normalized")],
        sys_attrs=notification.get("sysAttrs", False),
        datasets=frozenset(document["datasetId"]) if "datasetId" in document else None,
        languages=parse_language_filter(document["lang"]) if "lang" in document else (),
    )
    form = linked_form(base, notification.get("pick"), notification.get("omit", ()))
    attributes = frozenset(notification["attributes"]) if "attributes" in notification else None
    return replace(form, representation=replace(form.representation, attrs=attributes))


def _entity_query(document: Document) -> EntityQuery:
    query = EntityQuery(
        q=_q(document),
        geo=_geo(document["geoQ"]) if "geoQ" in document else None,
        scope=parse_scopes(document["scopeQ"]) if "scopeQ" in document else None,
        selectors=tuple(_selector(stored) for stored in document.get("entities", ())),
    )
    compiled(of_one_entity(query))  # raises for what cannot be matched
    return query


# Who reads a subscription often compiles its query right after.
compiled: Final = lru_cache(maxsize=64)(compile_query)


def of_one_entity(query: EntityQuery) -> EntityQuery:
    """What of ``query`` can be decided on one entity alone: without a ``q`` that looks into linked ones."""
    return replace(query, q=None) if looks_into_linked(query) else query


def looks_into_linked(query: EntityQuery) -> bool:
    """Whether ``q`` follows Relationships into other entities (clause 4.9)."""
    return query.q is not None and linked_depth(query.q) > 0


def _selector(stored: Document) -> EntitySelector:
    ids = stored.get("id", ())
    return EntitySelector(
        (ids,) if isinstance(ids, str) else tuple(ids), stored.get("idPattern"), read_types(stored["type"])
    )


def _q(document: Document) -> QueryTree | None:
    if "q" not in document:
        return None
    stored = document["q"]
    expanded = [name for name in names_of_values(document) if name in stored["names"]]
    return parse_q(stored["text"], lambda name: stored["names"].get(name, name), expand_values=expanded)


def _geo(stored: Document) -> GeoQuery:
    for member in ("georel", "geometry", "coordinates"):
        if member not in stored:
            raise fault(f"geoQ.{member}", "it is missing")
    return parse_geo(
        stored["georel"], stored["geometry"], stored["coordinates"], stored.get("geoproperty"), expand=lambda iri: iri
    )


def _triggers(names: list[str] | tuple[str, ...]) -> frozenset[Trigger]:
    triggers: set[Trigger] = set()
    for name in names:
        triggers |= _ATTRIBUTE_TRIGGERS if name == "entityUpdated" else {Trigger(name)}
    return frozenset(triggers)


def _seconds(document: Document, member: str) -> timedelta | None:
    return timedelta(seconds=document[member]) if member in document else None


@dataclass(frozen=True, slots=True)
class SubscriptionCounters:
    """What became of a subscription's notifications (clause 5.2.14.2), and why the last one failed."""

    times_sent: int = 0
    times_failed: int = 0
    last_notification: datetime | None = None
    last_success: datetime | None = None
    last_failure: datetime | None = None
    last_error: str | None = None


def represent_subscription(
    document: Document, subscription_id: str, counters: SubscriptionCounters, terms: TermMap, now: datetime
) -> dict[str, Any]:
    """A subscription as clients see it (clauses 5.2.12 and 5.2.14.2), without ``@context``."""
    result = {"id": subscription_id, "type": "Subscription", **compact_document(document, terms)}
    result["status"] = status(document, now)
    result["notification"] |= _counter_members(counters)
    return result


def status(document: Document, now: datetime) -> str:
    """``active``, ``paused`` or ``expired`` (Table 5.2.12-2)."""
    expires_at = expiry(document)
    if expires_at is not None and expires_at <= now:
        return "expired"
    return "active" if document.get("isActive", True) else "paused"


def _counter_members(counters: SubscriptionCounters) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, count in (("timesSent", counters.times_sent), ("timesFailed", counters.times_failed)):
        if count:
            members[name] = count
    for name, moment in (
        ("lastNotification", counters.last_notification),
        ("lastSuccess", counters.last_success),
        ("lastFailure", counters.last_failure),
    ):
        if moment is not None:
            members[name] = to_text(moment)
    if counters.last_success or counters.last_failure:
        failed = counters.last_failure and (not counters.last_success or counters.last_success < counters.last_failure)
        members["status"] = "failed" if failed else "ok"
        if failed and counters.last_error:
            members["lastErrorReason"] = counters.last_error
    return members
