# SPDX-License-Identifier: Apache-2.0
"""Which changes of registrations a subscription to them is told of (clause 5.11.7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.contexts.jsonld import core_terms
from broker.registrations.document import expand_registration
from broker.registrations.model import Registration, read_registration
from broker.registrations.subscriptions import MEMBERS, Reason, SourceSubscription, read_source_subscription
from broker.subscriptions import expand_subscription
from broker.times import to_text

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def subscription(**members: Any) -> SourceSubscription:
    body = {
        "type": "Subscription",
        "entities": [{"type": "Car"}],
        "notification": {"endpoint": {"uri": "http://127.0.0.1/n"}},
        **members,
    }
    return read_source_subscription(expand_subscription(body, core_terms(), more=MEMBERS), "urn:s:1")


def source(kind: str = "Car", **members: Any) -> Registration:
    body = {
        "type": "ContextSourceRegistration",
        "endpoint": "http://127.0.0.1:9",
        "information": [{"entities": [{"type": kind}]}],
        **members,
    }
    return read_registration(expand_registration(body, core_terms()), "urn:r:1")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (None, "Car", Reason.NEWLY_MATCHING),
        ("Tram", "Car", Reason.NEWLY_MATCHING),
        ("Car", "Car", Reason.UPDATED),
        ("Car", "Tram", Reason.NO_LONGER_MATCHING),
        ("Car", None, Reason.NO_LONGER_MATCHING),
        ("Tram", "Tram", None),
        (None, "Tram", None),
        ("Tram", None, None),
    ],
)
def test_the_reason_is_what_changed_for_the_subscriber(
    before: str | None, after: str | None, reason: Reason | None
) -> None:
    registrations = (None if kind is None else source(kind) for kind in (before, after))
    assert subscription().reason(*registrations, NOW) is reason


def test_what_has_expired_by_then_matches_no_longer() -> None:
    expired = source(expiresAt=to_text(NOW - timedelta(seconds=1)))
    assert subscription().reason(source(), expired, NOW) is Reason.NO_LONGER_MATCHING


def test_without_temporal_query_sources_of_the_latest_state_are_asked_for() -> None:
    historic = source(observationInterval={"startAt": "2020-01-01T00:00:00Z"})
    assert not subscription().asks_for(historic)
    query = {"timerel": "after", "timeAt": "2021-01-01T00:00:00Z"}
    assert subscription(temporalQ=query).asks_for(historic)
    assert not subscription(temporalQ=query).asks_for(source())


def test_attributes_in_q_are_asked_for_as_watched_ones_are() -> None:
    brand = source(information=[{"entities": [{"type": "Car"}], "propertyNames": ["brand"]}])
    assert subscription(q='brand=="A"').asks_for(brand)
    assert not subscription(q="speed>50").asks_for(brand)
    assert not subscription(watchedAttributes=["speed"]).asks_for(brand)
