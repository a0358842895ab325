# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to registrations of context sources (clauses 5.2.12, 5.3.2 and 5.11): who is told what. Pure.

Their documents are those of subscriptions to entities, with ``temporalQ``. What they ask for is what a query of
registrations asks for, so that a subscriber is told of what ``GET /csourceRegistrations`` would find.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from broker.document_members import Document, Read, object_of, read_text, read_time
from broker.history.temporal import TemporalQuery, temporal_query
from broker.query import EntityQuery, parse_q
from broker.registrations.matching import SourceFilter, Wanted, matching_information, wanted_by
from broker.registrations.model import Registration, RegistrationCounters, represent_registration
from broker.subscriptions.model import Endpoint, Subscription, read_subscription
from broker.subscriptions.notification import NotificationContext
from broker.times import parse_time, to_text
from schemas.terms import JSON_LD

TYPE: Final = "ContextSourceNotification"

MEMBERS: Final[dict[str, Read]] = {
    "temporalQ": object_of(
        {"timerel": read_text, "timeAt": read_time, "endTimeAt": read_time, "timeproperty": read_text}
    )
}
"""Members of the wire that only these subscriptions have."""


class Reason(StrEnum):
    """Why a notification is sent (Table 5.3.2-1)."""

    NEWLY_MATCHING = "newlyMatching"
    UPDATED = "updated"
    NO_LONGER_MATCHING = "noLongerMatching"


@dataclass(frozen=True, slots=True)
class SourceSubscription:
    """A subscription to registrations; ``base`` has what it has in common with other subscriptions."""

    base: Subscription
    wanted: Wanted
    sources: SourceFilter

    @property
    def endpoint(self) -> Endpoint:
        """Where notifications go."""
        return self.base.endpoint

    def asks_for(self, registration: Registration) -> bool:
        """Whether a registration, while it lasts, is one that matches (clause 5.12)."""
        return self.sources.admits(registration) and any(True for _ in matching_information(registration, self.wanted))

    def reason(self, before: Registration | None, after: Registration | None, now: datetime) -> Reason | None:
        """Why it is told of a change of a registration (clause 5.11.7); None when it is not.

        ``before`` is None for a new one, ``after`` for one that is gone, deleted or expired.
        """
        matched = before is not None and self.asks_for(before)
        if after is not None and after.is_live(now) and self.asks_for(after):
            return Reason.UPDATED if matched else Reason.NEWLY_MATCHING
        return Reason.NO_LONGER_MATCHING if matched else None


def read_source_subscription(document: Document, subscription_id: str) -> SourceSubscription:
    """Read a stored document. Raises :class:`~broker.errors.BadRequestData` when members do not go together."""
    base = read_subscription(document, subscription_id)
    query = base.query
    identity = EntityQuery(selectors=query.selectors, q=query.q, attributes=tuple(sorted(base.watched or ())))
    datasets = frozenset(document["datasetId"]) if "datasetId" in document else None
    csf = document.get("csf")
    names = {} if csf is None else csf["names"]
    sources = SourceFilter(
        None if csf is None else parse_q(csf["text"], lambda name: names.get(name, name), name="csf"),
        query.scope,
        query.geo,
        _temporal(document.get("temporalQ", {})),
    )
    return SourceSubscription(base, wanted_by(identity, datasets), sources)


def _temporal(stored: Document) -> TemporalQuery:
    times = {name: parse_time(stored[name]) if name in stored else None for name in ("timeAt", "endTimeAt")}
    return temporal_query(
        timerel=stored.get("timerel"),
        time_at=times["timeAt"],
        end_time_at=times["endTimeAt"],
        time_property=stored.get("timeproperty"),
        last_n=None,
    )


@dataclass(frozen=True, slots=True)
class Told:
    """A registration as notifications tell of it."""

    id: str
    document: Document
    registration: Registration
    counters: RegistrationCounters


def source_notification(
    subscription: SourceSubscription,
    reason: Reason,
    found: Iterable[Told],
    context: NotificationContext,
    identity: tuple[str, datetime],
) -> bytes:
    """The body of a notification of ``found`` (clause 5.3.2); ``identity`` is its id and when it is made.

    Each registration has only those elements of its information that match, where there are any (clause 5.11.7).
    """
    notification_id, notified_at = identity
    body: dict[str, Any] = {
        "id": notification_id,
        "type": TYPE,
        "subscriptionId": subscription.base.id,
        "triggerReason": str(reason),
        "notifiedAt": to_text(notified_at),
        "data": [_shown(told, subscription.wanted, context) for told in found],
    }
    if subscription.endpoint.accept == JSON_LD:
        body["@context"] = context.context
    return orjson.dumps(body)


def _shown(told: Told, wanted: Wanted, context: NotificationContext) -> dict[str, Any]:
    information: Sequence[Any] = told.document["information"]
    kept = [information[index] for index in matching_information(told.registration, wanted)]
    document = {**told.document, "information": kept or information}
    return represent_registration(document, told.id, told.counters, context.terms)
