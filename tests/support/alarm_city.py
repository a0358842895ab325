# SPDX-License-Identifier: Apache-2.0
"""A hub with a rule for river levels, whose alerts worker the test moves on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from api.alerting.rules import make_evaluator
from api.hub import Hub
from api.workers.feed import FeedLoop
from broker.times import to_text
from context_store.database import ALL_TENANTS
from context_store.events import ChangeFeed

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
MODEL = "https://smartdatamodels.org/dataModel.Environment/"
RULE: dict[str, Any] = {
    "name": {"ja": "巴川の水位", "en": "Tomoe level"},
    "entities": {"type": "WaterObserved"},
    "attribute": "waterLevel",
    "levels": [{"stage": "caution", "threshold": 1.0}, {"stage": "danger", "threshold": 2.0}],
    "clearAfter": 0,
    "escalateAfter": [600, 1800],
    "silentAfter": None,
}


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


@dataclass
class City:
    """A hub with a worker that the test moves on."""

    hub: Hub
    http: httpx.AsyncClient

    async def get(self, path: str, **parameters: Any) -> Any:
        answer = await self.http.get(f"/api/v1{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    async def post(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        answer = await self.http.post(f"/api/v1{path}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def put_rule(self, **members: Any) -> None:
        answer = await self.http.put("/api/v1/alert-rules/tomoe", json=RULE | members)
        assert answer.status_code in (200, 201), answer.text

    async def register(self, entity_id: str, device_id: str, *, group: str) -> None:
        """A device that measures there, heard through ``group``."""
        device = {
            "name": device_id,
            "entityId": entity_id,
            "entityType": MODEL + "WaterObserved",
            "attributes": [{"field": "level", "attribute": MODEL + "waterLevel", "unitCode": "MTR"}],
            "profile": {"silence": {"group": group}},
        }
        answer = await self.http.put(f"/api/v1/devices/{device_id}", json=device)
        assert answer.status_code == 201, answer.text

    async def measure(self, entity_id: str, minute: float, value: float, **other: Any) -> None:
        """One reading, and all rules evaluated on it."""
        await self.post_level(entity_id, minute, value, **other)
        await self.work()

    async def post_level(self, entity_id: str, minute: float, value: float, **other: Any) -> None:
        """One reading."""
        entity = {
            "id": entity_id,
            "type": MODEL + "WaterObserved",
            MODEL + "waterLevel": {
                "type": "Property",
                "value": value,
                "unitCode": "MTR",
                "observedAt": to_text(at(minute)),
            },
            "river": {"type": "LanguageProperty", "languageMap": {"ja": "巴川", "en": "Tomoe"}},
            **other,
        }
        answer = await self.http.post("/ngsi-ld/v1/entityOperations/upsert?options=update", json=[entity])
        assert answer.status_code in (201, 204), answer.text

    async def work(self) -> None:
        """What a worker that has just started does until everything is read."""
        feed = ChangeFeed(self.hub.database, "alerts")
        loop = FeedLoop("alerts", feed, make_evaluator(self.hub).process, poll_s=1)
        while await loop.step():
            pass
        await loop.check()

    async def let_time_pass(self, until: datetime) -> None:
        """The timers of a worker that has just started."""
        async with self.hub.database.transaction(ALL_TENANTS) as connection:
            await make_evaluator(self.hub).time_passes(connection, until)

    async def steps(self) -> list[str]:
        return [step["kind"] for step in (await self.get("/alarms/steps"))["steps"]]

    async def alarm(self) -> dict[str, Any]:
        (alarm,) = (await self.get("/alarms"))["alarms"]
        return dict(alarm)
