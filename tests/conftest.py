# SPDX-License-Identifier: Apache-2.0
"""Fixtures that start real servers. Unit tests use none of them.

``database_url``
    a database of its own for each test, migrated, as the role of the hub; the test runs once with native partitions
    and once with TimescaleDB (skipped where that is not installed)
``empty_database_url``
    the same before any migration
``hub``
    the parts of a hub with the default settings on that database; ``client`` talks to its application
``shared_url``
    one database for all tests of a module
``cluster``
    the PostgreSQL cluster behind both: ``cluster.admin(name)`` connects as superuser
``mosquitto``
    an MQTT broker for one test: ``mosquitto.hub``, ``await mosquitto.device("name")``, ``mosquitto.kill()``
``receiver``
    an HTTP server that records requests; can be slow, refuse, or be away
"""

from __future__ import annotations

import gc
import signal
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from support.cluster import Cluster, StoreMode, running_cluster
from support.mqtt_broker import Broker, running_broker
from support.receiver import Receiver

if TYPE_CHECKING:
    from api.hub import Hub

# Modules and collected tests stay for the whole run: millions of objects, which the garbage collector would visit again
# and again, for a third of the processor time.
gc.disable()


def _end(_number: int, _frame: object) -> None:
    """End as with Ctrl-C when told to (by a time limit, say), once: servers are stopped and their folders removed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, _end)


def pytest_collection_finish() -> None:
    """From here on only what tests make is looked through for garbage."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL cluster for the whole run."""
    with running_cluster() as running:
        yield running


@pytest.fixture(params=["native", "timescale"])
def store_mode(request: pytest.FixtureRequest, cluster: Cluster) -> StoreMode:
    """How history is stored; use ``parametrize("store_mode", ["native"], indirect=True)`` for one of them only."""
    mode: StoreMode = request.param
    if mode == "timescale" and not cluster.has_timescaledb:
        pytest.skip("TimescaleDB is not installed for this PostgreSQL")
    return mode


@pytest.fixture
def database_url(cluster: Cluster, store_mode: StoreMode) -> Iterator[str]:
    """A migrated database for one test."""
    name = cluster.create_migrated(store_mode)
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture(scope="module")
def shared_url(cluster: Cluster) -> Iterator[str]:
    """One migrated database for all tests of a module, with native partitions."""
    name = cluster.create_migrated("native")
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub with the default settings; a module that wants others has a fixture of this name."""
    from support.hub import hub_for  # late: unit tests do without the application

    async with hub_for(database_url) as opened:
        yield opened


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application on ``hub``."""
    from support.hub import client_for

    async with client_for(hub) as opened:
        yield opened


@pytest.fixture
def empty_database_url(cluster: Cluster, store_mode: StoreMode) -> Iterator[str]:
    """A database with the extensions only."""
    name = cluster.create_empty(store_mode)
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def database_name(database_url: str) -> str:
    """Name of the test's database, for ``cluster.admin``."""
    return urlsplit(database_url).path.lstrip("/")


@pytest.fixture
async def mosquitto() -> AsyncIterator[Broker]:
    """A private MQTT broker."""
    async with running_broker() as running:
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP server on a free port."""
    async with Receiver() as running:
        yield running
