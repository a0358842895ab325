# SPDX-License-Identifier: Apache-2.0
"""The pages of quarantine and of the trial of frames in a real browser, on a real hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.chromium import Chromium, Page, find_chromium
from support.hub_process import HubProcess
from support.page_hub import WEB

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested")

TENANT = "quarantinepage"
ENTITY = "urn:ngsi-ld:WaterObserved:page"
DEVICE: dict[str, Any] = {
    "entityId": ENTITY,
    "entityType": "WaterObserved",
    "attributes": [{"field": "l", "attribute": "waterLevel", "unitCode": "MTR", "minimum": -5, "maximum": 20}],
}
MENDED = {**DEVICE, "format": {"name": "bytes", "fields": {"l": "u16be(0) * 0.001"}}}
UNLABELLED = """[...document.querySelectorAll('input, select, textarea')]
    .filter(node => !node.labels.length && !node.getAttribute('aria-label')).map(node => node.id)"""


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
def page(chromium: Chromium) -> Iterator[Page]:
    with chromium.open_page() as opened:
        yield opened


def hold(api: httpx.Client, device: str, body: bytes) -> None:
    """Let a device send what cannot be read."""
    answer = api.put(f"/api/v1/devices/{device}", json={**DEVICE, "newPassword": True}).json()
    auth = (answer["key"], answer["mqtt"]["password"])
    assert api.post(f"/api/v1/readings/{answer['key']}", content=body, auth=auth).status_code == 202


def click(page: Page, selector: str) -> None:
    page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def says(page: Page, selector: str, text: str) -> None:
    page.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})")


def write(page: Page, field: str, text: str) -> None:
    page.evaluate(f"document.getElementById({json.dumps(field)}).value = {json.dumps(text)}")


def test_message_is_seen_mended_and_replayed(page: Page, running_hub: HubProcess, api: httpx.Client) -> None:
    hold(api, "mend-1", b"\x04\xd2")
    page.show(f"{running_hub.url}/quarantine?tenant={TENANT}")
    says(page, "#groups", "読めない形式 (undecodable)")
    click(page, "#list [data-message]")
    says(page, "#chosen .frame", "04 d2")
    says(page, "#wrong", "✕ 読めない形式")
    assert page.evaluate("document.activeElement.id") == "chosen"

    write(page, "registration", json.dumps(MENDED))
    click(page, "#try")
    says(page, "#decode", "1.234 MTR")
    assert len(api.get("/api/v1/quarantine").json()["messages"]) == 1
    click(page, "#save")
    says(page, "#said", "保存しました")
    click(page, "#replay-one")
    says(page, "#said", "1 件を保存しました")
    page.wait_for("document.querySelector('#groups').innerText.includes('保留中のメッセージはありません')")
    assert api.get(f"/ngsi-ld/v1/entities/{ENTITY}").status_code == 200
    assert page.evaluate(UNLABELLED) == []
    assert page.complaints() == []


def test_fault_of_a_registration_is_said(page: Page, running_hub: HubProcess, api: httpx.Client) -> None:
    hold(api, "mend-2", b"not json")
    page.show(f"{running_hub.url}/quarantine?tenant={TENANT}&lang=en")
    says(page, "#groups", "cannot be read (undecodable)")
    click(page, "#groups button")
    page.wait_for("document.querySelector('#filter-device').value.endsWith('mend-2')")
    click(page, "#list [data-message]")
    says(page, "#wrong", "the payload is not JSON")
    says(page, "#frame", "not json")
    write(page, "registration", "{")
    click(page, "#try")
    says(page, "#fault", "not JSON")
    write(page, "registration", json.dumps({**DEVICE, "format": "klingon"}))
    click(page, "#try")
    says(page, "#fault", "klingon")
    page.evaluate("window.confirm = () => true")
    click(page, "#drop")
    says(page, "#said", "is dropped")


def test_frame_is_tried_on_its_page(page: Page, running_hub: HubProcess, api: httpx.Client) -> None:
    page.show(f"{running_hub.url}/frames?tenant={TENANT}")
    page.wait_for("document.querySelectorAll('#as option').length > 5")
    write(page, "as", "model:level-gauge-json")
    write(page, "frame", '{"time": "2026-11-21T00:00:00Z", "level": 1.5}')
    click(page, "#send button")
    says(page, "#decode", "1.5 MTR")
    write(page, "as", "")
    write(page, "registration", json.dumps(MENDED))
    write(page, "kind", "payloadHex")
    write(page, "frame", "ff ff")
    click(page, "#send button")
    says(page, "#decode", "範囲外 (out_of_range)")
    assert page.evaluate(UNLABELLED) == []
    assert page.complaints() == []


def test_texts_are_there_in_both_languages() -> None:
    folder = WEB / "staff" / "quarantine" / "i18n"
    ja, en = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("ja", "en"))
    assert ja.keys() == en.keys()
    assert [key for key in ja if not ja[key] or not en[key]] == []
