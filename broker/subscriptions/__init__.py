# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: their documents, which changes concern them, and their notifications (clauses 5.2.12 and 5.8)."""

from broker.document_members import Document, merge
from broker.subscriptions.document import compact_document, expand_subscription
from broker.subscriptions.index import Concern, Indexed, SubscriptionIndex, indexed
from broker.subscriptions.matching import EntityEvent, state_after, state_before
from broker.subscriptions.model import (
    Endpoint,
    Subscription,
    SubscriptionCounters,
    Trigger,
    check_expiry,
    expiry,
    read_subscription,
    represent_subscription,
    status,
)
from broker.subscriptions.notification import (
    NotificationContext,
    notification_body,
    notification_context,
    notification_data,
    notification_headers,
    shape,
    shared_part,
)
from broker.subscriptions.sending import PULLED_URI, Sending, take_sending

__all__ = [
    "PULLED_URI",
    "Concern",
    "Document",
    "Endpoint",
    "EntityEvent",
    "Indexed",
    "NotificationContext",
    "Sending",
    "Subscription",
    "SubscriptionCounters",
    "SubscriptionIndex",
    "Trigger",
    "check_expiry",
    "compact_document",
    "expand_subscription",
    "expiry",
    "indexed",
    "merge",
    "notification_body",
    "notification_context",
    "notification_data",
    "notification_headers",
    "read_subscription",
    "represent_subscription",
    "shape",
    "shared_part",
    "state_after",
    "state_before",
    "status",
    "take_sending",
]
