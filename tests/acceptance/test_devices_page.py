# SPDX-License-Identifier: Apache-2.0
"""The page of devices in a real browser, on a real hub: register, send over MQTT, see it, try a frame, take away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import paho.mqtt.publish as mqtt_publish
import pytest

from api.embedded import mqtt_probe
from broker.times import to_text
from support.chromium import Chromium, Page, find_chromium
from support.hub_process import HubProcess
from support.page_hub import WEB

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested")

TENANT = "devicespage"
MODELS_THERE = "document.querySelectorAll('#model option').length > 5"
FILL = """(values) => { for (const [id, value] of Object.entries(values)) {
    const node = document.getElementById(id); node.value = value;
    node.dispatchEvent(new Event(node.tagName === 'SELECT' ? 'change' : 'input', {bubbles: true})); } }"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium(str(CHROMIUM)) as browser:
        yield browser


@pytest.fixture(scope="module")
def api(running_hub: HubProcess) -> Iterator[httpx.Client]:
    """The hub's API in a tenant of its own."""
    with httpx.Client(base_url=running_hub.url, headers={"NGSILD-Tenant": TENANT}, trust_env=False) as client:
        client.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "X"})
        yield client


@pytest.fixture
def page(chromium: Chromium, running_hub: HubProcess, api: httpx.Client) -> Iterator[Page]:
    with chromium.open_page() as opened:
        opened.show(f"{running_hub.url}/devices?tenant={TENANT}")
        opened.wait_for(f"{MODELS_THERE} && document.querySelector('#count').innerText !== ''")
        yield opened


def fill(page: Page, **values: str) -> None:
    page.evaluate(f"({FILL})({json.dumps(values)})")


def register(page: Page, device_id: str, **values: str) -> dict[str, str]:
    """Register a distance sensor by the form; the access it is shown."""
    fill(page, model="ultrasonic-distance-json", id=device_id, reference="4.2", **values)
    page.evaluate("document.querySelector('#register button').click()")
    page.wait_for(f"document.querySelector('#said').innerText.includes({json.dumps(device_id)})")
    codes = page.wait_for("[...document.querySelectorAll('#access-facts code')].map(c => c.innerText)")
    return dict(zip(("username", "password", "topic"), codes, strict=True))


def send(hub: HubProcess, access: dict[str, str], **values: Any) -> None:
    """As the device does; its user is known to the broker a moment after its registration."""
    deadline = time.monotonic() + 10
    login = (access["username"], access["password"])
    while not asyncio.run(mqtt_probe.accepts("127.0.0.1", hub.mqtt_port, *login)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    auth: Any = {"username": login[0], "password": login[1]}
    payload = orjson.dumps({"time": to_text(datetime.now(UTC)), **values})
    mqtt_publish.single(access["topic"], payload, qos=1, hostname="127.0.0.1", port=hub.mqtt_port, auth=auth)


def test_device_is_registered_sends_and_is_seen(page: Page, running_hub: HubProcess, api: httpx.Client) -> None:
    access = register(page, "page-1", name="橋の下", latitude="35.008", longitude="138.472", serial="A-1")
    assert f"-u {access['username']} -P '{access['password']}'" in page.evaluate(
        "document.querySelector('#example').innerText"
    )
    assert '"distance\\": 1.23' in page.evaluate("document.querySelector('#example').innerText")
    found = api.get("/api/v1/devices/page-1").json()
    assert (found["entityId"], found["location"], found["serialNumber"]) == (
        "urn:ngsi-ld:WaterObserved:page-1", [138.472, 35.008], "A-1",
    )  # fmt: skip
    send(running_hub, access, distance=1200, batteryLevel=0.83)
    row = "document.querySelector('#devices [data-device=page-1]').closest('tr').innerText"
    page.wait_for(f"{row}.includes('正常') && {row}.includes('83 %')", timeout=25)
    assert "●" in page.evaluate(row)
    assert page.complaints() == []


def test_frame_is_read_on_the_page_and_nothing_is_stored(page: Page, api: httpx.Client) -> None:
    register(page, "page-2")
    page.evaluate("document.querySelector('#devices [data-device=page-2]').click()")
    page.wait_for("document.querySelector('#chosen-title').innerText.includes('page-2')")
    fill(page, frame='{"time": "2026-11-21T00:00:00Z", "distance": 1200}')
    page.evaluate("document.querySelector('#try button').click()")
    page.wait_for("document.querySelector('#decode').innerText.includes('3 MTR')")
    fill(page, frame='{"distance": 1}')
    page.evaluate("document.querySelector('#try button').click()")
    page.wait_for("document.querySelector('#decode .fault')?.innerText.includes('undecodable')")
    assert api.get("/ngsi-ld/v1/entities/urn:ngsi-ld:WaterObserved:page-2").status_code == 404


def test_fault_in_the_form_is_said(page: Page) -> None:
    fill(page, model="ultrasonic-distance-json", id="page-3", reference="4", latitude="35")
    page.evaluate("document.querySelector('#register button').click()")
    page.wait_for("document.querySelector('#fault').innerText.includes('両方')")


def test_password_is_taken_away_and_maintenance_begun(page: Page, api: httpx.Client) -> None:
    register(page, "page-4")
    page.evaluate("(window.confirm = () => true, window.prompt = () => '清掃')")
    page.evaluate("document.querySelector('#devices [data-device=page-4]').click()")
    page.wait_for("document.querySelector('#chosen-title').innerText.includes('page-4')")
    page.evaluate("document.querySelector('#maintain').click()")
    page.wait_for("document.querySelector('#facts').innerText.includes('清掃')")
    page.evaluate("document.querySelector('#revoke').click()")
    page.wait_for("document.querySelector('#facts').innerText.includes('失効')")
    found = api.get("/api/v1/devices/page-4").json()
    assert (found["credential"]["state"], found["status"]["state"]) == ("revoked", "maintenance")


def test_page_is_used_with_the_keyboard_alone(page: Page) -> None:
    register(page, "page-5")
    page.evaluate("document.querySelector('#devices [data-device=page-5]').focus()")
    page.press("Enter")
    page.wait_for("document.querySelector('#chosen-title').innerText.includes('page-5')")
    assert page.evaluate("document.activeElement.id") == "chosen"
    page.press("Tab")
    assert page.evaluate("document.activeElement.id") == "new-password"
    unlabelled = """[...document.querySelectorAll('input, select, textarea')]
        .filter(node => !node.labels.length && !node.getAttribute('aria-label')).map(node => node.id)"""
    assert page.evaluate(unlabelled) == []


def test_page_speaks_english_too(page: Page) -> None:
    page.evaluate("document.querySelector('button[data-lang=en]').click()")
    page.wait_for("document.documentElement.lang === 'en'")
    assert page.evaluate("document.querySelector('#new-title').innerText") == "Register a device"


def test_texts_are_there_in_both_languages() -> None:
    ja, en = (
        json.loads((WEB / "devices" / "i18n" / f"{name}.json").read_text(encoding="utf-8")) for name in ("ja", "en")
    )
    assert ja.keys() == en.keys()
    assert [key for key in ja if not ja[key] or not en[key]] == []
