# SPDX-License-Identifier: Apache-2.0
"""Putting the ingest pipeline together from settings and stores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from adapters.formats import minamo_json
from adapters.formats import table as formats
from adapters.web.trust import mqtt_context
from api import metrics
from api.hub import Hub
from api.settings import Settings
from broker.intake.readings import CommitSummary
from context_store.devices.registry import CachedDeviceDirectory
from context_store.intake.commits import PostgresReadingStore
from context_store.intake.early import PostgresEarlyReadings
from ingest.client import MqttAddress, MqttClient
from ingest.decode import Decoder, Limits
from ingest.device_state import DeviceStateKeeper
from ingest.dispatch import Dispatcher
from ingest.early import EarlyReadings, EarlySession
from ingest.pipeline import DeviceDirectory, Pipeline
from ingest.topics import filters_of_member


def limits(settings: Settings) -> Limits:
    """What a message may be at most."""
    return Limits(
        payload_bytes=settings.max_payload_bytes,
        future=timedelta(seconds=settings.future_tolerance_s),
        age=timedelta(days=settings.max_reading_age_days),
    )


def make_decoder(settings: Settings) -> Decoder:
    """The decoder of messages, with every format."""
    return Decoder(minamo_json.decode, limits(settings), formats.decode)


def make_state_keeper(settings: Settings) -> DeviceStateKeeper:
    """What decides how often the entities of devices are written."""
    return DeviceStateKeeper(timedelta(seconds=settings.device_state_interval_s))


def make_pipeline(
    hub: Hub, on_commit: Callable[[CommitSummary, float], None] | None = None
) -> tuple[Pipeline, CachedDeviceDirectory]:
    """The pipeline on the hub's stores, and its copy of the device registry; by default commits are counted here."""
    directory = CachedDeviceDirectory(hub.database)
    store = PostgresReadingStore(hub.database, hub.terms, hub.history)
    pipeline = Pipeline(
        make_decoder(hub.settings),
        directory,
        store,
        lanes=hub.settings.ingest_lanes,
        batch_max=hub.settings.batch_max_readings,
        batch_max_wait_s=hub.settings.batch_max_wait_ms / 1000,
        longest_rest_s=hub.settings.batch_rest_ms / 1000,
        on_commit=on_commit or count_commit,
        device_state=make_state_keeper(hub.settings),
    )
    return pipeline, directory


def make_client(
    settings: Settings,
    address: MqttAddress,
    pipeline: Pipeline | Dispatcher,
    on_subscribed: Callable[[], None] | None = None,
    on_resumed: Callable[[], None] | None = None,
) -> MqttClient:
    """The MQTT client that feeds ``pipeline``; ``on_subscribed`` is called after each (re)connection, ``on_resumed``
    when the broker has kept the session."""
    return MqttClient(
        address,
        client_id=settings.mqtt_client_id,
        receive_maximum=settings.mqtt_receive_maximum,
        topic_filters=filters_of_member(settings.mqtt_shared_group, settings.mqtt_topic_filters),
        on_message=pipeline.put,
        keepalive_s=settings.mqtt_keepalive_s,
        session_expiry_s=settings.mqtt_session_expiry_s,
        on_subscribed=on_subscribed,
        on_resumed=on_resumed,
        tls=mqtt_context(settings.ca_file) if address.tls else None,
    )


def make_early_session(hub: Hub, address: MqttAddress, directory: DeviceDirectory) -> EarlySession | None:
    """The second session that is open while there is a backlog, if the settings want one.

    Members of a shared group are members of a second one with it: each message is told once.
    """
    settings = hub.settings
    if not (settings.mqtt_early_session and settings.alert_fresh_s):
        return None
    readings = EarlyReadings(
        make_decoder(settings),
        directory,
        PostgresEarlyReadings(hub.database),
        fresh=timedelta(seconds=settings.alert_fresh_s),
        on_drop=metrics.EARLY_DROPPED.inc,
    )
    group = None if settings.mqtt_shared_group is None else settings.mqtt_shared_group + "-early"

    def make_second() -> MqttClient:
        return MqttClient(
            address,
            client_id=settings.mqtt_client_id + "-early",
            receive_maximum=settings.mqtt_receive_maximum,
            topic_filters=filters_of_member(group, settings.mqtt_topic_filters),
            on_message=readings.put,
            keepalive_s=settings.mqtt_keepalive_s,
            tls=mqtt_context(settings.ca_file) if address.tls else None,
            is_passing=True,
        )

    return EarlySession(readings, make_second)


def count_commit(summary: CommitSummary, seconds: float) -> None:
    """Count a commit in the metrics of this process."""
    for fate, count in (
        ("current", summary.current),
        ("late", summary.late),
        ("repeated", summary.repeated),
        ("correction", summary.corrections),
    ):
        if count:
            metrics.READINGS.labels(fate).inc(count)
    if summary.quarantined:
        metrics.QUARANTINED.inc(summary.quarantined)
    metrics.INGEST_LATENCY.observe(seconds)
