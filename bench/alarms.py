# SPDX-License-Identifier: Apache-2.0
"""Alerts beside a load of notifications (see subscriptions.py): how soon they are there while bulk waits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from broker.times import to_text
from tests.support.receiver import Received, Receiver

_PER_S: Final = 5.0
_STATIONS: Final = 10
_ATTRIBUTE: Final = "https://uri.etsi.org/ngsi-ld/default-context/alarmLevel"
_LAST_S: Final = 60.0


def _id(number: int) -> str:
    return f"urn:ngsi-ld:AlarmGauge:{number}"


@dataclass(slots=True)
class Alarms:
    """Crossings of a threshold, sent at an even pace; their webhooks, as they come."""

    url: str
    sent: dict[tuple[str, str], float] = field(default_factory=dict)
    came: dict[tuple[str, str], float] = field(default_factory=dict)
    turn: int = 0

    def on_webhook(self, request: Received) -> int:
        """Note a webhook; answers 200."""
        alert = request.json
        self.came.setdefault((alert["entityId"], alert["observedAt"]), time.monotonic())
        return 200

    async def set_up(self) -> None:
        """Stations, and a rule that raises and clears at once."""
        async with self._client() as http:
            entities = [
                {"id": _id(number), "type": "AlarmGauge", "alarmLevel": _level(0.0)} for number in range(_STATIONS)
            ]
            (await http.post("/ngsi-ld/v1/entityOperations/create", json=entities)).raise_for_status()
            rule = {
                "name": {"ja": "計測用", "en": "Bench"},
                "entities": {"type": "https://uri.etsi.org/ngsi-ld/default-context/AlarmGauge"},
                "attribute": _ATTRIBUTE,
                "levels": [{"stage": "caution", "threshold": 1.0}],
                "hysteresis": 0,
                "clearAfter": 0,
                "flapping": None,  # it goes up and down all the time
            }
            (await http.put("/api/v1/alert-rules/bench", json=rule)).raise_for_status()

    @contextlib.asynccontextmanager
    async def ringing(self) -> AsyncIterator[None]:
        """Crossings are sent within the block; at its end all have arrived, or it has been waited for long."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._ring(stop))
        try:
            yield
        finally:
            stop.set()  # and not cancelled: a crossing that nobody knows of would be missed with the next one
            await task
        deadline = time.monotonic() + _LAST_S
        while not self.came.keys() >= self.sent.keys() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def latencies(self) -> list[float]:
        """Seconds of each; raises when one is missing."""
        assert self.came.keys() >= self.sent.keys(), f"{len(self.came)} alerts for {len(self.sent)} crossings"
        found = [self.came[key] - at for key, at in self.sent.items()]
        self.sent.clear()
        return found

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60)

    async def _ring(self, stop: asyncio.Event) -> None:
        async with self._client() as http:
            while not stop.is_set():
                await self._cross(http)
                await asyncio.sleep(1 / _PER_S)

    async def _cross(self, http: httpx.AsyncClient) -> None:
        """The next station goes over the threshold, or under it."""
        turn, number = divmod(self.turn, _STATIONS)
        self.turn += 1
        level = _level(0.5 if turn % 2 else 1.5)
        began = time.monotonic()
        path = f"/ngsi-ld/v1/entities/{_id(number)}/attrs"
        response = await http.patch(path, json={"alarmLevel": level})
        if response.is_success:
            self.sent[_id(number), level["observedAt"]] = began


def _level(value: float) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": to_text(datetime.now(UTC))}


@contextlib.asynccontextmanager
async def alarm_receiver() -> AsyncIterator[tuple[str, Receiver]]:
    """A receiver of webhooks, and its address."""
    async with Receiver() as receiver:
        yield f"{receiver.url}/alerts", receiver
