# SPDX-License-Identifier: Apache-2.0
"""What every process of the hub is made of: the stores on one database, put together once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from adapters.files.language_files import catalogue_files
from adapters.polls.fetching import DocumentFetcher
from adapters.web.context_loader import HttpContextLoader
from adapters.web.context_source import SourceClient
from adapters.web.guard import Reach
from api.settings import Settings
from broker.contacts import read_catalogues, use_catalogues
from broker.contexts.jsonld import ContextLimits, ContextResolver
from context_store.alerts.alarms import AlarmStore
from context_store.alerts.rules import AlertRuleStore
from context_store.alerts.standing import AlertStore
from context_store.contexts.cache import CachedContextLoader
from context_store.contexts.hosted import HostedContexts
from context_store.database import Database
from context_store.deliveries.queue import DeliveryStore
from context_store.devices.registry import DeviceStore
from context_store.entities.changes import EntityWriter
from context_store.history.partitions import CHANGES, HISTORY, Partitions
from context_store.history.terms import TermIds
from context_store.intake.quarantine import QuarantineStore
from context_store.registrations.directory import RegistrationDirectory
from context_store.sealing import Sealer, read_keys
from context_store.tenants import Tenants

# A claimed stream is worked on for a few seconds and one more attempt; its lease has to be longer.
_LEASE_MARGIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Hub:
    """The parts that routers, workers and commands share."""

    settings: Settings
    database: Database
    tenants: Tenants
    terms: TermIds
    contexts: ContextResolver
    history: Partitions
    changes: Partitions
    writer: EntityWriter
    devices: DeviceStore
    quarantine: QuarantineStore
    context_loader: CachedContextLoader
    hosted_contexts: HostedContexts
    alert_rules: AlertRuleStore
    alerts: AlertStore
    alarms: AlarmStore
    deliveries: DeliveryStore
    registrations: RegistrationDirectory
    source_client: SourceClient
    documents: DocumentFetcher
    sealer: Sealer


def reach_of(settings: Settings) -> Reach:
    """Where the hub connects to when others name the address, as the settings want it."""
    return Reach(
        allow_private=settings.allow_private_endpoints,
        allow_loopback=settings.loopback_endpoints_allowed,
        ca_file=settings.ca_file,
    )


@asynccontextmanager
async def open_hub(settings: Settings, database_url: str) -> AsyncIterator[Hub]:
    """Open the stores on the database at ``database_url``; it need not answer yet."""
    use_catalogues(read_catalogues(catalogue_files(settings.languages_dir)) if settings.languages_dir else ())
    database = Database(database_url, min_size=settings.database_pool_min, max_size=settings.database_pool_max)
    await database.open()
    reach = reach_of(settings)
    http = HttpContextLoader(
        timeout_s=settings.context_fetch_timeout_s, max_bytes=settings.context_max_bytes, reach=reach
    )
    sources = SourceClient(
        timeout_s=settings.csource_timeout_s,
        max_bytes=settings.csource_max_bytes,
        concurrency=settings.csource_concurrency,
        reach=reach,
    )
    documents = DocumentFetcher(timeout_s=settings.poll_timeout_s, max_bytes=settings.poll_max_bytes, reach=reach)
    terms = TermIds(database)
    history = Partitions(database, HISTORY)
    loader = CachedContextLoader(database, http, refresh_after=timedelta(hours=settings.context_refresh_hours))
    tenants = Tenants(database)
    hosted = HostedContexts(database, tenants)
    limits = ContextLimits(max_documents=settings.context_max_documents)
    try:
        yield Hub(
            settings=settings,
            database=database,
            tenants=tenants,
            terms=terms,
            contexts=ContextResolver(loader, hosted=hosted, limits=limits),
            history=history,
            changes=Partitions(database, CHANGES),
            writer=EntityWriter(terms, history),
            devices=DeviceStore(database),
            quarantine=QuarantineStore(database),
            context_loader=loader,
            hosted_contexts=hosted,
            alert_rules=AlertRuleStore(),
            alerts=AlertStore(),
            alarms=AlarmStore(timedelta(hours=settings.incident_reopen_hours)),
            deliveries=DeliveryStore(database, lease_s=settings.delivery_timeout_s + _LEASE_MARGIN_S),
            registrations=RegistrationDirectory(database),
            source_client=sources,
            documents=documents,
            sealer=Sealer(read_keys(settings.secret_keys_file) if settings.secret_keys_file else ()),
        )
    finally:
        await http.aclose()
        await sources.aclose()
        await documents.aclose()
        await database.close()
