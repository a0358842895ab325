# SPDX-License-Identifier: Apache-2.0
"""The delivery worker as the settings want it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adapters.webhook import HttpSender, SendResult
from api.hub import Hub
from api.metrics import DELIVERIES, DELIVERY_LATENCY
from api.workers.deliveries import DeliveryWorker, RetryPolicy
from context_store.deliveries import ClaimedDelivery, ClaimedStream


def make_delivery_worker(hub: Hub, sender: HttpSender) -> DeliveryWorker:
    """A worker on the hub's outbox."""
    settings = hub.settings
    policy = RetryPolicy(
        longest_s=settings.delivery_backoff_max_s, max_age=timedelta(hours=settings.delivery_max_age_hours)
    )
    return DeliveryWorker(
        hub.deliveries,
        sender,
        policy=policy,
        concurrency=settings.delivery_concurrency,
        per_destination=settings.per_destination_concurrency,
        poll_s=settings.worker_poll_ms / 1000,
        on_attempt=_count,
    )


def _count(stream: ClaimedStream, delivery: ClaimedDelivery, result: SendResult) -> None:
    DELIVERIES.labels(stream.kind, "delivered" if result.ok else "failed").inc()
    if result.ok:
        seconds = (datetime.now(UTC) - delivery.created_at).total_seconds()
        DELIVERY_LATENCY.labels(stream.kind).observe(seconds)
