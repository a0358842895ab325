# SPDX-License-Identifier: Apache-2.0
"""A client that others wrote, ngsildclient of the Python package index, works with the hub (see ``tests/clients.txt``).

Not here is what it does wrong by the specification, and what every broker would refuse: ``gq`` is sent as a parameter
``geoQ``, ``temporal.query`` sends ``options=count``, a subscription to an id alone has no type.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.hub_process import HubProcess

PROJECT = Path(__file__).parents[2]
CLIENTS = PROJECT / ".venv" / "clients"
USER = PROJECT / "tests" / "support" / "ngsildclient_user.py"
ABE = "urn:ngsi-ld:WaterObserved:abe"


@pytest.fixture(scope="module")
def told(running_hub: HubProcess) -> dict[str, Any]:
    """What came of everything that a user of the client did."""
    if not (CLIENTS / "ngsildclient").is_dir():
        pytest.fail("ngsildclient is not installed: ./run setup")
    command = [sys.executable, "-W", "ignore", str(USER), str(running_hub.http_port)]
    environment = {**os.environ, "PYTHONPATH": str(CLIENTS), "NO_PROXY": "127.0.0.1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


class TestEntities:
    def test_it_connects(self, told: dict[str, Any]) -> None:
        assert told["entities"]["connected"] is True

    def test_an_entity_is_created_once(self, told: dict[str, Any]) -> None:
        found = told["entities"]
        assert (found["created"], found["created again"]) == (True, "NgsiAlreadyExistsError")
        assert found["exists"] == [True, False]

    def test_an_entity_comes_back_as_it_was(self, told: dict[str, Any]) -> None:
        got = told["entities"]["got"]
        assert (got["id"], got["type"], got["name"]["value"]) == (ABE, "WaterObserved", "River abe")
        assert got["waterLevel"] == {
            "type": "Property", "value": 1.5, "unitCode": "MTR", "observedAt": "2026-06-30T23:00:00Z"
        }  # fmt: skip
        assert got["location"]["value"] == {"type": "Point", "coordinates": [138.4, 34.9]}
        assert got["refDevice"]["object"] == "urn:ngsi-ld:Device:abe"

    def test_what_is_upserted_and_updated_is_current(self, told: dict[str, Any]) -> None:
        assert told["entities"]["upserted, updated"] == 2.5

    def test_history_has_every_value(self, told: dict[str, Any]) -> None:
        assert [value for value, _ in told["entities"]["history"] if isinstance(value, float | int)] == [1.5, 2.0, 2.5]

    def test_a_deleted_entity_is_not_found(self, told: dict[str, Any]) -> None:
        assert (told["entities"]["deleted"], told["entities"]["got after"]) == (True, "NgsiResourceNotFoundError")


class TestBatches:
    def test_many_entities_are_created_once(self, told: dict[str, Any]) -> None:
        assert (told["batches"]["created"], told["batches"]["created again"]) == (120, 5)

    def test_they_are_upserted_and_updated(self, told: dict[str, Any]) -> None:
        found = told["batches"]
        assert (found["upserted"], found["updated"], found["not overwritten"]) == (10, 10, 10)

    def test_they_are_counted_and_queried_page_by_page(self, told: dict[str, Any]) -> None:
        assert (told["batches"]["counted"], told["batches"]["queried"]) == (100, 100)

    def test_they_are_queried_by_post(self, told: dict[str, Any]) -> None:
        assert told["batches"]["queried by POST"] == list(range(100, 120))

    def test_their_types_are_known(self, told: dict[str, Any]) -> None:
        assert [name.rpartition("/")[2] for name in told["batches"]["types"]] == ["WaterObserved"]

    def test_their_history_is_aggregated(self, told: dict[str, Any]) -> None:
        assert told["batches"]["greatest"] == [7.0]

    def test_they_are_deleted(self, told: dict[str, Any]) -> None:
        assert (told["batches"]["deleted"], told["batches"]["left"]) == (50, 0)


def test_subscriptions_are_created_found_and_deleted(told: dict[str, Any]) -> None:
    subscription = "urn:ngsi-ld:Subscription:level"
    assert told["subscriptions"] == {
        "created": subscription,
        "got": "waterLevel>1",
        "exists": [True, False],
        "listed": [subscription],
        "deleted": True,
        "left": [],
    }


def test_contexts_are_added_served_and_deleted(told: dict[str, Any]) -> None:
    assert told["contexts"] == {
        "got": {"@context": {"paddyLevel": "https://example.org/paddyLevel"}},
        "bundled": True,
        "deleted": True,
        "exists": False,
    }


def test_its_asynchronous_client_works_as_well(told: dict[str, Any]) -> None:
    expected = {"created": True, "upserted": True, "got": 2.0, "deleted": True, "exists": False}
    assert told["asynchronously"] == expected
