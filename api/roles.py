# SPDX-License-Identifier: Apache-2.0
"""The processes of the hub: which parts run together, from start to a clean end.

Every role is a set of named tasks. When one of them ends by itself or fails, the process ends with an error instead
of going on with a part of it dead; whoever supervises it starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

import structlog
import uvicorn
from psycopg import AsyncConnection
from pydantic import SecretStr
from starlette.applications import Starlette

from adapters.channels.sending import Senders
from adapters.channels.services import ServiceOptions
from api.alerting.rules import make_evaluator
from api.alerting.web_push import push_options
from api.app import create_app, make_guard, make_readers
from api.context_uses import ContextWatch
from api.health import Health, PartDown, health_routes
from api.hub import Hub, reach_of
from api.intake.ingest_parts import make_client, make_early_session, make_pipeline
from api.intake.writers import make_dispatcher
from api.metrics import INGEST_WAITING, MQTT_CONNECTED
from api.routers.stations import Notice
from api.settings import Settings
from api.streams.numbered import Wakes
from api.workers.ahead import make_ahead
from api.workers.clock import SteadyClock
from api.workers.contacts import ContactWorker
from api.workers.delivery_policy import make_delivery_worker
from api.workers.drills import run_drills
from api.workers.expiry import collect_expired
from api.workers.feed import FeedLoop
from api.workers.forecasts import ForecastWorker
from api.workers.housekeeping import housekeeping
from api.workers.polls import run_polls
from api.workers.rollups import RollupWorker
from api.workers.source_subscriptions import follow_registrations
from api.workers.subscriptions import SubscriptionWorker
from api.workers.supervision import SupervisionWorker
from api.workers.watch import watch_backlogs
from broker.errors import MinamoError
from broker.intake.readings import CommitSummary
from context_store import caches, events
from context_store.alerts import standing as alert_channel
from context_store.database import Database
from context_store.deliveries import outbox as deliveries
from context_store.devices.registry import CachedDeviceDirectory
from context_store.history.retention import Retention
from context_store.history.rollups import Rollups
from context_store.intake import early
from context_store.listener import Listener
from context_store.migrate import migrate
from context_store.sealing import Sealer
from ingest.client import MqttAddress, MqttClient
from ingest.dispatch import Dispatcher
from ingest.pipeline import Pipeline
from ingest.writer import ReceiverLink

log = structlog.get_logger(__name__)

_SHUTDOWN_S: Final = 5
_LARGEST_MESSAGE: Final = 4096  # bytes, from clients of streams, who have nothing to say
_DIRECTORY_REFRESH_S: Final = 1.0


class RoleEnded(MinamoError):
    """A task of the process ended although nobody asked it to."""


@dataclass(slots=True)
class Parts:
    """What a process runs: named tasks, what wakes them, and how to ask whether they are well."""

    health: Health = field(default_factory=Health)
    tasks: dict[str, Coroutine[Any, Any, None]] = field(default_factory=dict)
    wakers: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    takers: dict[str, Callable[[str], None]] = field(default_factory=dict)

    def add(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` under this name."""
        self.tasks[name] = work

    def wake_on(self, channel: str, wake: Callable[[], None]) -> None:
        """Call ``wake`` when the database notifies ``channel``."""
        self.wakers.setdefault(channel, []).append(wake)


def add_api(parts: Parts, hub: Hub, notice: Notice | None = None) -> None:
    """The HTTP API and the live page, with a ``notice`` above it."""
    wakes = Wakes()
    parts.wake_on(alert_channel.CHANNEL, wakes.wake)
    readers = make_readers(hub)
    parts.wake_on(deliveries.KEPT_CHANNEL, readers.wake)
    parts.add("streams", readers.run())
    parts.wake_on(caches.CHANNEL, hub.registrations.wake)
    parts.add("registrations", hub.registrations.run())
    guard = make_guard(hub)
    parts.add("overload", guard.run())
    app = create_app(hub, parts.health, wakes, notice, readers, guard)
    parts.add("http", _serve(app, hub.settings.http_host, hub.settings.http_port))


def add_health_only(parts: Parts, port: int) -> None:
    """Health and metrics of a process without the API, on the loopback address."""
    app = Starlette(routes=health_routes(parts.health))
    parts.add("health", _serve(app, "127.0.0.1", port))


def add_ingest(parts: Parts, hub: Hub, address: MqttAddress, on_subscribed: Callable[[], None] | None = None) -> None:
    """MQTT in; ``on_subscribed`` is called whenever the subscription is in place (again)."""
    pipeline: Pipeline | Dispatcher
    if hub.settings.ingest_processes == 1:
        pipeline, directory = _add_pipeline(parts, hub)
    else:
        pipeline, directory = _add_dispatcher(parts, hub), CachedDeviceDirectory(hub.database)
    second = make_early_session(hub, address, directory)
    client = make_client(hub.settings, address, pipeline, on_subscribed, second.resume if second else None)
    if second is not None:
        much = hub.settings.mqtt_receive_maximum // 4
        parts.add("early readings", second.run(lambda: client.held > much))

    async def watch() -> None:
        while True:
            INGEST_WAITING.set(pipeline.waiting)
            MQTT_CONNECTED.set(client.connected)
            if second is not None and isinstance(pipeline, Pipeline) and not pipeline.store_available:
                second.resume()  # the broker queues meanwhile
            await asyncio.sleep(_DIRECTORY_REFRESH_S)

    parts.add("mqtt", client.run())
    parts.add("ingest", pipeline.run(client))
    parts.add("ingest gauges", watch())
    parts.health.add("mqtt", lambda: _check_mqtt(client))


def add_ingest_writer(parts: Parts, hub: Hub, stream: socket.socket) -> None:
    """What one of several ingest processes does: to write what the receiver hands it on ``stream``."""
    link = ReceiverLink(stream)
    pipeline, _ = _add_pipeline(parts, hub, link.on_commit)
    parts.add("receiver", link.run(pipeline))
    parts.add("ingest", pipeline.run(link))


def _add_pipeline(
    parts: Parts, hub: Hub, on_commit: Callable[[CommitSummary, float], None] | None = None
) -> tuple[Pipeline, CachedDeviceDirectory]:
    """A pipeline and its copy of the device registry, which is kept up to date."""
    pipeline, directory = make_pipeline(hub, on_commit)
    changed = asyncio.Event()
    parts.wake_on(caches.CHANNEL, changed.set)

    async def refresh() -> None:
        while True:
            changed.clear()
            with contextlib.suppress(Exception):
                await directory.refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DIRECTORY_REFRESH_S):
                    await changed.wait()

    parts.add("device directory", refresh())
    return pipeline, directory


def _add_dispatcher(parts: Parts, hub: Hub) -> Dispatcher:
    """Processes that write, and what shares readings among them."""
    dispatcher = make_dispatcher(hub.settings.ingest_processes, hub.database.url)
    parts.health.add("ingest writers", partial(_check_writers, dispatcher))
    return dispatcher


async def _check_writers(dispatcher: Dispatcher) -> None:
    if missing := dispatcher.missing:
        raise PartDown(f"not ready: {', '.join(map(str, missing))}")


async def _check_mqtt(client: MqttClient) -> None:
    if not client.connected:
        raise PartDown("not connected to the MQTT broker")


def add_workers(parts: Parts, hub: Hub, sender: Senders) -> None:
    """Alert rules, subscriptions, deliveries, rollups of history, and the end of what is transient."""
    poll_s = hub.settings.worker_poll_ms / 1000
    clock = SteadyClock(timedelta(seconds=hub.settings.clock_step_patience_s))
    evaluator = make_evaluator(hub, clock)
    started = time.monotonic()

    async def time_passes(connection: AsyncConnection) -> None:
        """Silence is not judged before devices had the time to send what they kept while the hub was away."""
        settled = time.monotonic() - started >= hub.settings.alert_silence_grace_s
        await evaluator.time_passes(connection, clock.now(), judge_silence=settled)

    feed = events.ChangeFeed(hub.database, "alerts", limit=hub.settings.worker_batch_events, holder=uuid4().hex)
    ahead = make_ahead(hub.settings, feed, evaluator)
    alert_loop = FeedLoop("alerts", feed, evaluator.process, poll_s=poll_s, time_passes=time_passes, ahead=ahead)
    subscription_worker = SubscriptionWorker(hub, poll_s)
    delivery_worker = make_delivery_worker(hub, sender)
    parts.wake_on(events.CHANNEL, alert_loop.wake)
    if ahead is not None:
        ahead.on_told = alert_loop.wake
        parts.takers[early.CHANNEL] = ahead.take
    parts.wake_on(events.CHANNEL, subscription_worker.wake)
    parts.wake_on(deliveries.CHANNEL, delivery_worker.wake)
    parts.health.add("alert rules", alert_loop.check)
    parts.health.add("subscriptions", subscription_worker.check)
    parts.add("alert rules", alert_loop.run())
    parts.add("subscriptions", subscription_worker.run())
    parts.add("deliveries", delivery_worker.run())
    contact_worker = ContactWorker(hub.database, poll_s=poll_s, public_url=hub.settings.public_url)
    parts.wake_on(alert_channel.CHANNEL, contact_worker.wake)
    parts.health.add("contacts", contact_worker.check)
    parts.add("contacts", contact_worker.run())
    rollup_worker = RollupWorker(Rollups(hub.database), Retention(hub.database, hub.settings.kept))
    parts.health.add("rollups", rollup_worker.check)
    parts.add("rollups", rollup_worker.run())
    forecasts = ForecastWorker(hub)
    parts.health.add("forecasts", forecasts.check)
    parts.add("forecasts", forecasts.run())
    supervision = SupervisionWorker(hub)
    parts.health.add("supervision", supervision.check)
    parts.add("supervision", supervision.run())
    parts.add("expiry", collect_expired(hub))
    parts.add("registrations' subscribers", follow_registrations(hub))
    parts.add("drills", run_drills(hub))
    parts.add("polls", run_polls(hub))
    parts.add("backlog gauges", watch_backlogs(hub))


def make_sender(settings: Settings, database: Database | None = None, sealer: Sealer | None = None) -> Senders:
    """What sends deliveries; ``database`` has the hub's key for Web Push (sealed), without it there is none."""
    return Senders(
        timeout_s=settings.delivery_timeout_s,
        connections=settings.delivery_places,
        services=ServiceOptions(
            smtp_url=_secret(settings.smtp_url),
            smtp_from=settings.smtp_from,
            line_token=_secret(settings.line_channel_token),
            line_url=settings.line_api_url,
            sms_url=_secret(settings.sms_gateway_url),
            sms_token=_secret(settings.sms_gateway_token),
            sms_template=settings.sms_gateway_template,
            web_push=push_options(settings, database, sealer or Sealer()) if database is not None else None,
        ),
        reach=reach_of(settings),
    )


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


@contextlib.asynccontextmanager
async def maintained(hub: Hub, database_url: str) -> AsyncIterator[None]:
    """A database at the newest schema, and its upkeep while the block runs."""
    revision = await asyncio.to_thread(migrate, database_url)
    log.info("database.ready", revision=revision)
    async with housekeeping(hub):
        yield


async def run(parts: Parts, hub: Hub, *, on_started: Callable[[], None] | None = None) -> None:
    """Run ``parts`` until SIGINT or SIGTERM; raises :class:`RoleEnded` when a task ends before that."""
    parts.health.add("database", hub.database.ping)
    watch = ContextWatch(hub)
    parts.wake_on(caches.CHANNEL, watch.wake)
    parts.add("contexts", watch.run())
    wakers = {channel: _all(calls) for channel, calls in parts.wakers.items()}
    parts.add("listener", Listener(hub.database, wakers, parts.takers).run())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    _tune_garbage_collection()
    tasks = [asyncio.create_task(work, name=name) for name, work in parts.tasks.items()]
    stopping = asyncio.create_task(stop.wait(), name="stop")
    if on_started is not None:
        on_started()
    try:
        done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            raise RoleEnded(f"{task.get_name()} ended") from task.exception()
    finally:
        for task in [*reversed(tasks), stopping]:
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _tune_garbage_collection() -> None:
    """Look for cycles less often, and never among what start-up made: most of what a batch makes lives to its end.

    Measured on ingest: 1.1 s of processor time instead of 1.3 s for 50,000 readings.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _all(calls: list[Callable[[], None]]) -> Callable[[], None]:
    def wake() -> None:
        for call in calls:
            call()

    return wake


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process as a whole is told to stop."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Take no signals."""
        yield


async def _serve(app: Any, host: str, port: int) -> None:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        server.force_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        raise
