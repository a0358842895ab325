# SPDX-License-Identifier: Apache-2.0
"""The delivery workers as the settings want them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.channels.webhook import SendResult
from api.hub import Hub
from api.metrics import DELIVERIES, DELIVERY_LATENCY
from api.workers.deliveries import DeliveryLanes, DeliveryWorker, Sender
from api.workers.shares import RetryPolicy
from context_store.deliveries.outbox import Priority
from context_store.deliveries.queue import ClaimedDelivery, ClaimedStream

_ATTEMPT_MARGIN_S: Final = 5.0  # a sender that keeps its own time ends sooner


def make_delivery_worker(hub: Hub, sender: Sender) -> DeliveryLanes:
    """The workers on the hub's outbox. Bulk has few places, so that it cannot take the processor from the others."""
    settings = hub.settings
    policy = RetryPolicy(
        longest_s=settings.delivery_backoff_max_s, max_age=timedelta(hours=settings.delivery_max_age_hours)
    )
    places = {
        Priority.ALERT: settings.delivery_alert_concurrency,
        Priority.NORMAL: settings.delivery_concurrency,
        Priority.BULK: settings.delivery_bulk_concurrency,
    }
    return DeliveryLanes(
        [
            DeliveryWorker(
                hub.deliveries,
                sender,
                hub.sealer,
                policy=policy,
                lane=lane,
                concurrency=concurrency,
                per_destination=min(settings.per_destination_concurrency, concurrency),
                poll_s=settings.worker_poll_ms / 1000,
                longest_pause_s=settings.delivery_pause_max_s,
                attempt_s=settings.delivery_timeout_s + _ATTEMPT_MARGIN_S,
                on_attempt=_count,
            )
            for lane, concurrency in places.items()
        ]
    )


def _count(stream: ClaimedStream, delivery: ClaimedDelivery, result: SendResult) -> None:
    DELIVERIES.labels(stream.kind, "delivered" if result.ok else "failed").inc()
    if result.ok:
        seconds = (datetime.now(UTC) - delivery.queued_at).total_seconds()
        DELIVERY_LATENCY.labels(stream.kind).observe(seconds)
