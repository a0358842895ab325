# SPDX-License-Identifier: Apache-2.0
"""A hub on a test's database, and an HTTP client that talks to its application within the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from api.app import create_app
from api.hub import Hub, open_hub
from api.settings import Settings


@asynccontextmanager
async def hub_for(database_url: str, **settings: Any) -> AsyncIterator[Hub]:
    """The parts of a hub on ``database_url``, ready for writes; ``settings`` differ from the defaults."""
    async with open_hub(Settings(**{"database_pool_max": 8, **settings}), database_url) as hub:
        now = datetime.now(UTC)
        await hub.changes.ensure([now, now + timedelta(days=1)])  # what the housekeeping of a running hub does
        yield hub


@asynccontextmanager
async def client_for(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application on ``hub``; errors of the application are answers, as they are over a network."""
    transport = httpx.ASGITransport(create_app(hub, at_once=False), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        yield client
