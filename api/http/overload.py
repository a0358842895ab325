# SPDX-License-Identifier: Apache-2.0
"""Refusing writes before memory or disk suffers: 429 with Retry-After, what is bulk first, alerts and readings never.

Every process with the API measures what waits every two seconds. Readings over MQTT are not refused: there the hub
takes its time with the acknowledgement, and devices or the broker wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from api.metrics import OVERLOAD, WRITES_REFUSED
from api.ngsild.resource import API_PATH
from broker.errors import StoreUnavailable
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries.status import outbox_size
from context_store.events import consumer_lag
from schemas.terms import JSON

log = structlog.get_logger(__name__)

RETRY_AFTER_S: Final = 5
_EVERY_S: Final = 2.0
_BULK_FROM: Final = 0.8  # of a limit: what is bulk is refused earlier
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BULK: Final = (API_PATH + "/entityOperations/", API_PATH + "/temporal/")
_SINGLE: Final = API_PATH + "/entities"
_ALERTS: Final = _SINGLE + "/urn:ngsi-ld:Alert:"
_NO_WRITES: Final = ("/query", "/entityOperations/delete")  # questions by POST, and what makes room


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on writes are refused; ``free_disk_bytes`` is of the folder ``disk``, when the database is there."""

    pending: int
    outbox_bytes: int
    event_lag: int
    free_disk_bytes: int
    disk: Path | None = None


class LoadGuard:
    """How full the hub is: for each limit, the share of it that is used up."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._shares: dict[str, float] = {}
        self._reasons: dict[bool, str | None] = {}

    async def run(self) -> None:
        """Measure until cancelled; while the database is away the last measure counts."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self.measure()
            await asyncio.sleep(_EVERY_S)

    async def measure(self) -> None:
        """Measure now."""
        limits = self._limits
        async with self._database.transaction(ALL_TENANTS) as connection:
            pending, outbox_bytes = await outbox_size(connection)
            lags = await consumer_lag(connection)
        before = self.reason(bulk=False)
        self._shares = {
            "pending": pending / limits.pending,
            "outbox": outbox_bytes / limits.outbox_bytes,
            "events": max((behind for behind, _ in lags.values()), default=0) / limits.event_lag,
            "disk": _disk_share(limits),
        }
        self._reasons = {bulk: self._reached(_BULK_FROM if bulk else 1.0) for bulk in (False, True)}
        for name, share in self._shares.items():
            OVERLOAD.labels(name).set(share)
        if (now := self.reason(bulk=False)) != before:
            log.warning("overload.changed", reason=now, shares={k: round(v, 3) for k, v in self._shares.items()})

    def reason(self, *, bulk: bool) -> str | None:
        """Which limit is reached: ``pending``, ``outbox``, ``events``, ``disk``; None when none is."""
        return self._reasons.get(bulk)

    def _reached(self, mark: float) -> str | None:
        return next((name for name, share in self._shares.items() if share >= mark), None)


def _disk_share(limits: Limits) -> float:
    """1 and more when less is free than has to be."""
    if limits.disk is None or not limits.disk.exists():
        return 0.0
    return limits.free_disk_bytes / max(shutil.disk_usage(limits.disk).free, 1)


_REASONS: Final[Mapping[str, str]] = {
    "pending": "too many notifications wait to be delivered / 配信待ちの通知が多すぎます",
    "outbox": "the notifications that are kept take too much space / 保持している通知の容量が上限に達しました",
    "events": "too many changes wait to be processed / 処理待ちの変更が多すぎます",
    "disk": "the disk is almost full / ディスクの空きが足りません",
}


class WriteShedding:
    """Refuses writes of entities while the hub is overloaded."""

    def __init__(self, app: ASGIApp, guard: LoadGuard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope) if scope["type"] == "http" and scope["method"] in _WRITES else None
        if reason is None:
            await self._app(scope, receive, send)
            return
        WRITES_REFUSED.labels(reason).inc()
        headers = [(b"content-type", JSON.encode()), (b"retry-after", b"%d" % RETRY_AFTER_S)]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(_problem(reason))})

    def _refusal(self, scope: Scope) -> str | None:
        if self._guard.reason(bulk=True) is None:
            return None
        path: str = scope["path"]
        if path.endswith(_NO_WRITES) or path.startswith(_ALERTS):
            return None
        bulk = path.startswith(_BULK)
        if not bulk and not path.startswith(_SINGLE):
            return None
        return self._guard.reason(bulk=bulk)


def _problem(reason: str) -> dict[str, Any]:
    detail = f"The hub is overloaded: {_REASONS[reason]}"
    return {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": detail}
