# SPDX-License-Identifier: Apache-2.0
"""What Prometheus sees at ``/metrics``. Names and meanings are part of the documented interface."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)

READINGS: Final = Counter(
    "minamo_readings_total", "Values committed by ingest, by fate: current, late, repeated, correction", ["fate"]
)
QUARANTINED: Final = Counter("minamo_quarantined_total", "Messages set aside by ingest")
INGEST_WAITING: Final = Gauge("minamo_ingest_waiting", "Messages taken from the broker and not yet being committed")
INGEST_LATENCY: Final = Histogram(
    "minamo_ingest_seconds", "From arrival of the oldest message of a batch to its commit", buckets=_LATENCY_BUCKETS
)
MQTT_CONNECTED: Final = Gauge("minamo_mqtt_connected", "1 while the subscription at the MQTT broker is in place")
ALERT_DECISIONS: Final = Counter(
    "minamo_alert_decisions_total", "Alerts raised and cleared, by kind and stage", ["kind", "stage"]
)
ALARM_STEPS: Final = Counter("minamo_alarm_steps_total", "Steps of alarms, by kind", ["kind"])
NOTICES: Final = Counter(
    "minamo_notices_total", "Messages to contacts, by channel and whether they were sent or held", ["channel", "fate"]
)
ALERT_LATENCY: Final = Histogram(
    "minamo_alert_seconds", "From the commit of a reading to the decision of its alert", buckets=_LATENCY_BUCKETS
)
ALERTS_AHEAD: Final = Counter(
    "minamo_alerts_ahead_total", "Readings that decided something before their turn, while older ones waited"
)
EARLY_DROPPED: Final = Counter(
    "minamo_early_dropped_total", "Messages of the second MQTT session given up for newer ones; they come in their turn"
)
DELIVERIES: Final = Counter(
    "minamo_deliveries_total", "Attempts to deliver, by kind (notification, alert) and result", ["kind", "result"]
)
DELIVERY_LATENCY: Final = Histogram(
    "minamo_delivery_seconds", "From the outbox to the receiver's success", ["kind"], buckets=_LATENCY_BUCKETS
)
PENDING: Final = Gauge(
    "minamo_deliveries_waiting", "Deliveries not made, by kind and state (pending, dead)", ["kind", "state"]
)
PENDING_AGE: Final = Gauge("minamo_deliveries_oldest_seconds", "Age of the oldest pending delivery", ["kind"])
SUBSCRIPTION_PENDING: Final = Gauge(
    "minamo_subscription_waiting",
    "Notifications not delivered, of the ten subscriptions with the most of them",
    ["tenant", "subscription"],
)
SUBSCRIPTION_AGE: Final = Gauge(
    "minamo_subscription_oldest_seconds", "Age of the oldest pending one, of the same ten", ["tenant", "subscription"]
)
STREAMS_OPEN: Final = Gauge("minamo_streams_open", "Open streams of notifications in this process")
OVERLOAD: Final = Gauge(
    "minamo_overload_ratio",
    "How much of a limit is used up (pending, outbox, events, disk); writes are refused from 1",
    ["limit"],
)
WRITES_REFUSED: Final = Counter(
    "minamo_writes_refused_total", "Writes answered with 429, by the limit reached", ["limit"]
)
FEED_LAG: Final = Gauge(
    "minamo_feed_lag_events", "Change events written and not yet read, by consumer (an upper bound)", ["consumer"]
)
EVENTS_SKIPPED: Final = Counter(
    "minamo_events_skipped_total", "Change events that could not be processed and were passed over", ["consumer"]
)
ROLLUP_LAG: Final = Gauge("minamo_rollup_lag_seconds", "Time up to now that is not rolled up")
DEVICES: Final = Gauge("minamo_devices", "Devices that were ever heard, by state: ok, late, silent, dead", ["state"])
POLLS: Final = Counter(
    "minamo_polls_total", "Documents fetched on a schedule, by outcome (taken, unchanged, failed)", ["outcome"]
)
QUARANTINE_HELD: Final = Gauge("minamo_quarantine_held", "Messages in quarantine, by reason", ["reason"])
REQUESTS: Final = Counter("minamo_http_requests_total", "HTTP requests, by method and status", ["method", "status"])
REQUEST_LATENCY: Final = Histogram(
    "minamo_http_request_seconds", "Duration of HTTP requests (event streams excluded)", buckets=_LATENCY_BUCKETS
)
