# SPDX-License-Identifier: Apache-2.0
"""The whole hub as its users meet it: devices, quarantine, alerts by stream, webhook and command line, access."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import orjson
import paho.mqtt.publish as publish
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from broker.times import to_text
from support.hub_process import HubProcess, hub_process

DEVICE = {
    "name": "Kano river, Mishima",
    "entityId": "urn:ngsi-ld:WaterObserved:kano",
    "entityType": "WaterObserved",
    "attributes": [{"field": "level", "attribute": "waterLevel", "unitCode": "MTR", "minimum": -2, "maximum": 12}],
    "expectedInterval": 600,
    "location": [138.91, 35.11],
}
RULE = {
    "name": {"ja": "狩野川", "en": "Kano river"},
    "entities": {"ids": ["urn:ngsi-ld:WaterObserved:kano"]},
    "attribute": "waterLevel",
    "levels": [{"stage": "caution", "threshold": 3.0}, {"stage": "danger", "threshold": 5.0}],
}


class Webhook:
    """Takes alerts as a city's own system would."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    """One receiver for the module."""
    running = Webhook()
    yield running
    running.close()


@pytest.fixture(scope="module")
def hub(webhook: Webhook) -> Iterator[HubProcess]:
    """One hub for the module."""
    with hub_process(alert_webhooks=orjson.dumps([webhook.url]).decode()) as running:
        yield running


@pytest.fixture(scope="module")
def credentials(hub: HubProcess) -> dict[str, str]:
    """MQTT access of the registered device."""
    hub.put("/api/v1/alert-rules/kano", RULE)
    mqtt: dict[str, str] = hub.put("/api/v1/devices/kano", DEVICE)["mqtt"]
    return mqtt


def send(hub: HubProcess, credentials: dict[str, str], payload: Any) -> None:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    deadline = time.monotonic() + 10
    while True:
        try:
            publish.single(
                credentials["topic"],
                body,
                qos=1,
                hostname="127.0.0.1",
                port=hub.mqtt_port,
                auth={"username": credentials["username"], "password": credentials["password"]},
                protocol=MQTTProtocolVersion.MQTTv5,
            )
        except Exception:  # the broker learns of a new device within a second
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def eventually(ask: Callable[[], Any], wanted: Callable[[Any], bool], within_s: float = 15) -> Any:
    deadline = time.monotonic() + within_s
    while not wanted(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def minamo(hub: HubProcess, *arguments: str) -> str:
    environment = {**os.environ, "MINAMO_URL": hub.url, "LANG": "ja_JP.UTF-8"}
    command = [sys.executable, "-m", "api.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_station_without_a_reading_looks_missing(hub: HubProcess) -> None:
    hub.put("/api/v1/devices/silent", {**DEVICE, "entityId": "urn:ngsi-ld:WaterObserved:silent"})
    stations = {s["deviceId"]: s for s in hub.http.get("/api/v1/stations").json()["stations"]}
    assert (stations["silent"]["status"], stations["silent"]["value"]) == ("missing", None)


def test_flood_raises_alerts_on_every_way_out_once(
    hub: HubProcess, webhook: Webhook, credentials: dict[str, str]
) -> None:
    now = datetime.now(UTC)
    send(hub, credentials, {"time": to_text(now - timedelta(minutes=3)), "level": 1.0})
    send(hub, credentials, {"time": to_text(now - timedelta(minutes=2)), "level": 5.1})  # a jump: the next one decides
    send(hub, credentials, {"time": to_text(now - timedelta(minutes=1)), "level": 5.2})
    alerts = eventually(lambda: hub.http.get("/api/v1/alerts").json()["alerts"], lambda found: len(found) == 2)
    assert {alert["stage"] for alert in alerts} == {"caution", "danger"}
    assert all(alert["stagesCrossed"] == ["caution", "danger"] for alert in alerts)

    eventually(lambda: webhook.bodies, lambda bodies: len(bodies) >= 2)
    assert [body["stage"] for body in webhook.bodies] == ["caution", "danger"]

    with hub.http.stream("GET", "/api/v1/alerts/stream", headers={"Last-Event-ID": "0"}) as stream:
        lines = stream.iter_lines()
        data = [line for line in (next(lines) for _ in range(12)) if line.startswith("data:")]
    assert [orjson.loads(line[5:])["stage"] for line in data] == ["caution", "danger"]

    assert "氾濫危険水位" in minamo(hub, "alerts")
    assert "避難指示" not in minamo(hub, "alerts")


def test_alert_is_an_entity_that_anybody_can_query(hub: HubProcess, credentials: dict[str, str]) -> None:
    link = (
        '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
    )
    query = {"type": "Alert", "q": 'alertStage=="danger"', "options": "keyValues"}
    found = eventually(
        lambda: hub.http.get("/ngsi-ld/v1/entities", params=query, headers={"Link": link}).json(), lambda x: len(x) == 1
    )
    assert (found[0]["severity"], found[0]["subCategory"]) == ("critical", "flood")
    assert found[0]["alertSource"] == "urn:ngsi-ld:WaterObserved:kano"


def test_late_reading_is_history_and_neither_current_nor_an_alert(hub: HubProcess, credentials: dict[str, str]) -> None:
    before = hub.sql("select count(*) from alert_event")
    send(hub, credentials, {"time": to_text(datetime.now(UTC) - timedelta(hours=5)), "level": 11.0})
    path = "/api/v1/stations/urn:ngsi-ld:WaterObserved:kano/series"
    points = eventually(lambda: hub.http.get(path).json()["points"], lambda p: any(value == 11.0 for _, value in p))
    assert points[-1][1] == 5.2
    assert hub.sql("select count(*) from alert_event") == before


def test_message_of_an_unknown_device_is_kept_and_taken_once_the_device_is_known(hub: HubProcess) -> None:
    first = hub.put("/api/v1/devices/katsura", {**DEVICE, "entityId": "urn:ngsi-ld:WaterObserved:katsura"})["mqtt"]
    assert hub.http.delete("/api/v1/devices/katsura").status_code == 204
    hub.sql("select pg_sleep(1.5)")
    send_as_hub(hub, first["topic"], {"time": to_text(datetime.now(UTC)), "level": 2.5})
    held = eventually(lambda: hub.http.get("/api/v1/quarantine").json()["messages"], lambda m: len(m) == 1)[0]
    assert (held["reason"], held["deviceKey"]) == ("unknown_device", "katsura")
    assert orjson.loads(held["payloadText"])["level"] == 2.5
    assert "unknown_device" in minamo(hub, "quarantine", "list")

    hub.put("/api/v1/devices/katsura", {**DEVICE, "entityId": "urn:ngsi-ld:WaterObserved:katsura"})
    assert orjson.loads(minamo(hub, "quarantine", "replay")) == {"stored": 1, "stillHeld": 0}
    stations = {s["deviceId"]: s for s in hub.http.get("/api/v1/stations").json()["stations"]}
    assert stations["katsura"]["value"] == 2.5
    assert hub.http.get("/api/v1/quarantine").json()["messages"] == []


def send_as_hub(hub: HubProcess, topic: str, document: Any) -> None:
    """Publish with the hub's own credentials: a message from a device that the registry has forgotten."""
    secrets = orjson.loads((hub.data / "secrets.json").read_bytes())
    password = next(value for name, value in secrets.items() if "mqtt" in name or "mosquitto" in name)
    publish.single(
        topic,
        orjson.dumps(document),
        qos=1,
        hostname="127.0.0.1",
        port=hub.mqtt_port,
        auth={"username": "minamo-hub", "password": password},
        protocol=MQTTProtocolVersion.MQTTv5,
    )


def test_frame_is_tried_out_on_the_command_line(hub: HubProcess, credentials: dict[str, str], tmp_path: Path) -> None:
    frame = tmp_path / "frame"
    frame.write_text("level|1.75")
    found = orjson.loads(minamo(hub, "devices", "decode", "kano", str(frame), "--topic", "/key/kano/attrs"))
    assert [(row["field"], row["value"]) for row in found["stored"]] == [("level", 1.75)]


def test_metrics_tell_of_readings(hub: HubProcess, credentials: dict[str, str]) -> None:
    assert 'minamo_readings_total{fate="current"}' in hub.http.get("/metrics").text


def test_readiness_names_the_part_that_is_down(hub: HubProcess) -> None:
    hub.kill_child("mosquitto")
    answer = eventually(lambda: hub.http.get("/readyz"), lambda response: response.status_code == 503)
    assert answer.json()["parts"]["database"] == "up"
    assert answer.json()["parts"]["mqtt"].startswith("down")
    eventually(lambda: hub.http.get("/readyz").status_code, lambda status: status == 200, 30)


def test_second_start_keeps_everything(hub: HubProcess) -> None:
    before = hub.http.get("/api/v1/alerts?state=all").json()
    assert hub.stop() == 0
    hub.start()
    assert hub.http.get("/api/v1/alerts?state=all").json() == before


def test_it_refuses_to_be_reached_from_outside_without_authentication() -> None:
    environment = {**os.environ, "MINAMO_HTTP_HOST": "0.0.0.0"}  # noqa: S104 - what must be refused
    result = subprocess.run(
        [sys.executable, "-m", "api.cli", "up"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert "MINAMO_API_TOKENS_SHA256" in result.stderr


def test_page_and_its_parts_are_served_with_a_strict_policy(hub: HubProcess) -> None:
    page = hub.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert hub.http.get("/static/app/main.js").status_code == 200
    with pytest.raises(httpx.HTTPStatusError):
        hub.http.get("/static/../pyproject.toml").raise_for_status()
