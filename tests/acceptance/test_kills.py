# SPDX-License-Identifier: Apache-2.0
"""SIGKILL in the middle of 20,000 readings: nothing is lost, nothing is stored twice, every notification arrives."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from api.replay.device import SimulatedDevice
from broker.times import to_text
from support.hub_process import HubProcess, hub_process

STATIONS = 4
READINGS_EACH = 5_000
KILLS = 3
WATER_LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
BEGIN = datetime(2026, 9, 1, tzinfo=UTC)


class Subscriber:
    """An HTTP receiver in threads of its own; remembers what it got, in the order of arrival."""

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
                subscriber.take(body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/notify"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, notification: dict) -> None:
        """Remember the time of the level that each entity was notified with."""
        with self._lock:
            for entity in notification["data"]:
                self.seen[entity["id"]].append(entity[WATER_LEVEL]["observedAt"])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    """A subscriber."""
    running = Subscriber()
    yield running
    running.close()


def register(hub: HubProcess, number: int) -> SimulatedDevice:
    answer = hub.put(
        f"/api/v1/devices/gauge-{number}",
        {
            "name": f"gauge {number}",
            "entityId": f"urn:ngsi-ld:WaterObserved:gauge-{number}",
            "entityType": "WaterObserved",
            "attributes": [{"field": "level", "attribute": "waterLevel", "unitCode": "MTR"}],
        },
    )
    mqtt = answer["mqtt"]
    return SimulatedDevice("127.0.0.1", hub.mqtt_port, mqtt["username"], mqtt["password"])


def subscribe(hub: HubProcess, url: str) -> None:
    document = {
        "type": "Subscription",
        "entities": [{"type": "https://smartdatamodels.org/dataModel.Environment/WaterObserved"}],
        "watchedAttributes": [WATER_LEVEL],
        "notification": {"endpoint": {"uri": url, "accept": "application/json"}},
    }
    response = hub.http.post("/ngsi-ld/v1/subscriptions", json=document)
    assert response.status_code == 201, response.text


def publish_all(device: SimulatedDevice) -> None:
    for number in range(READINGS_EACH):
        moment = BEGIN + timedelta(minutes=number)
        device.publish({"time": to_text(moment), "level": number / 100})


def kill_hub(hub: HubProcess) -> None:
    hub.kill()
    hub.start()


def kill_postgres(hub: HubProcess) -> None:
    hub.kill_child("postgres")


def kill_mosquitto(hub: HubProcess) -> None:
    hub.kill_child("mosquitto")


def wait_until_delivered(hub: HubProcess, within_s: float) -> None:
    """Every change event was matched and every delivery made."""
    statement = """select (select count(*) from delivery where state <> 'delivered'),
                          (select max(event_id) from change_event) - last_event_id
                     from change_consumer where name = 'subscriptions'"""
    deadline = time.monotonic() + within_s
    while (left := hub.sql(statement)[0]) != (0, 0):
        assert time.monotonic() < deadline, f"deliveries and events left: {left}\n{hub.tail()}"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.kill
@pytest.mark.parametrize("kill", [kill_hub, kill_postgres, kill_mosquitto])
def test_nothing_is_lost_or_doubled_when_a_part_is_killed(
    kill: Callable[[HubProcess], None], subscriber: Subscriber
) -> None:
    chance = random.Random(kill.__name__)
    with hub_process() as hub:
        devices = [register(hub, number) for number in range(STATIONS)]
        subscribe(hub, subscriber.url)
        time.sleep(1.0)
        publishers = [threading.Thread(target=publish_all, args=(device,), daemon=True) for device in devices]
        for publisher in publishers:
            publisher.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.3, 2.0))
            kill(hub)
        for publisher in publishers:
            publisher.join(timeout=150)
            assert not publisher.is_alive(), f"a device cannot get rid of its readings\n{hub.tail()}"
        assert [device.flush(60) for device in devices] == [0] * STATIONS
        check_history(hub)
        wait_until_delivered(hub, 120)
        check_notifications(hub, subscriber)
        for device in devices:
            device.close()


def check_history(hub: HubProcess) -> None:
    rows = hub.sql(
        """select e.id, count(*), count(distinct i.observed_at), min(i.number_value), max(i.number_value)
             from attribute_instance i join entity e using (entity_key) join term t on t.term_id = i.attribute_id
            where t.name = %s group by e.id order by e.id""",
        WATER_LEVEL,
    )
    expected = (READINGS_EACH, READINGS_EACH, 0.0, (READINGS_EACH - 1) / 100)
    assert [tuple(row[1:]) for row in rows] == [expected] * STATIONS


def check_notifications(hub: HubProcess, subscriber: Subscriber) -> None:
    due = defaultdict(list)
    for entity_id, observed_at in hub.sql(
        """select e.entity_id, c->'after'->>'observedAt'
             from change_event e, json_array_elements(e.changes) c
            where c->>'attribute' = %s order by e.event_id""",
        WATER_LEVEL,
    ):
        due[entity_id].append(observed_at)
    assert len(due) == STATIONS
    for entity_id, times in due.items():
        first_arrivals = list(dict.fromkeys(subscriber.seen[entity_id]))
        assert first_arrivals == times
