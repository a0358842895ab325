# SPDX-License-Identifier: Apache-2.0
"""A city in a tenant of a running hub: rivers, rules and people, for tests of the pages of staff."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx

from broker.times import to_text
from support.alarm_city import MODEL, RULE

LEVELS = [{"stage": "caution", "threshold": 1.0}, {"stage": "danger", "threshold": 2.0}]


class StaffCity:
    """``http`` speaks to the hub at ``url`` in the name of ``tenant``."""

    def __init__(self, url: str, tenant: str) -> None:
        self.tenant = tenant
        self.http = httpx.Client(base_url=url, headers={"NGSILD-Tenant": tenant}, trust_env=False, timeout=20)
        self.http.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "X"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def put(self, path: str, document: dict[str, Any]) -> None:
        answer = self.http.put(f"/api/v1/{path}", json=document)
        assert answer.status_code in (200, 201), answer.text

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.http.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rule(self, **members: Any) -> None:
        self.put("alert-rules/levels", RULE | {"levels": LEVELS} | members)

    def measure(self, name: str, level: float, river: str, minutes_ago: float = 0) -> str:
        """One reading of the station ``name`` on ``river``; its id."""
        entity_id = f"urn:ngsi-ld:WaterObserved:{name}"
        at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        entity = {
            "id": entity_id,
            "type": MODEL + "WaterObserved",
            "name": {"type": "LanguageProperty", "languageMap": {"ja": f"{name}橋", "en": f"{name} bridge"}},
            "river": {"type": "LanguageProperty", "languageMap": {"ja": f"{river}川", "en": river}},
            MODEL + "waterLevel": {"type": "Property", "value": level, "unitCode": "MTR", "observedAt": to_text(at)},
        }
        answer = self.http.post("/ngsi-ld/v1/entityOperations/upsert?options=update", json=[entity])
        assert answer.status_code in (201, 204), answer.text
        return entity_id

    def alarm(self, entity_id: str) -> dict[str, Any]:
        """Its open alarm, as soon as there is one."""
        return dict(self.until(lambda: self.get("alarms", entityId=entity_id)["alarms"])[0])

    def until(self, what: Callable[[], Any], timeout_s: float = 15) -> Any:
        """The value of ``what``, as soon as it is true."""
        deadline = time.monotonic() + timeout_s
        while not (found := what()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found
