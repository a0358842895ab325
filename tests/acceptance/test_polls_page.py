# SPDX-License-Identifier: Apache-2.0
"""The page of documents that are fetched on a schedule in a real browser, on a real hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from support.chromium import Chromium, Page, find_chromium
from support.hub_process import HubProcess
from support.page_hub import WEB

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested")

TENANT = "pollspage"
UNLABELLED = """[...document.querySelectorAll('input, select, textarea')]
    .filter(node => !node.labels.length && !node.getAttribute('aria-label')).map(node => node.id)"""


class City(BaseHTTPRequestHandler):
    """A city's web server with a document of one station, and an address where there is none."""

    def do_GET(self) -> None:
        is_there = self.path == "/levels.json"
        body = b'{"stations": [{"id": "tomoe", "level": 1.25}]}' if is_there else b"<html>busy"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def city() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), City)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


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


def press(page: Page, place: str, text: str) -> None:
    """The button in ``place`` with this text."""
    find = f"[...document.querySelectorAll({json.dumps(place + ' button')})]"
    page.evaluate(f"{find}.find(one => one.innerText === {json.dumps(text)}).click()")


def says(page: Page, selector: str, text: str) -> None:
    page.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})")


def write(page: Page, field: str, text: str) -> None:
    page.evaluate(f"document.getElementById({json.dumps(field)}).value = {json.dumps(text)}")


def put(api: httpx.Client, poll: str, url: str, **members: object) -> None:
    document = {"url": url, "interval": 3600, "format": {"records": "stations", "station": "id"}, **members}
    assert api.put(f"/api/v1/polls/{poll}", json=document).status_code in (200, 201)


def test_document_is_tried_registered_fetched_and_paused(
    page: Page, running_hub: HubProcess, api: httpx.Client, city: str
) -> None:
    page.show(f"{running_hub.url}/polls?tenant={TENANT}")
    says(page, "#poll-list", "定期取得はまだありません")
    page.evaluate("document.querySelector('#new-poll').click()")
    definition = {"name": "巴川", "url": f"{city}/levels.json", "interval": 3600, "headers": {"X-Key": "geheim"}}
    write(page, "new-id", "tomoe")
    write(page, "definition", json.dumps({**definition, "format": {"records": "stations", "station": "id"}}))
    page.evaluate("document.querySelector('#try').click()")
    says(page, "#preview", "1 レコード、1 局")
    assert api.get("/api/v1/polls").json()["polls"] == []

    page.evaluate("document.querySelector('#edit button[type=submit]').click()")
    says(page, "#said", "巴川 を保存しました")
    says(page, "#how", "✓ 取得済み")  # by the worker: it is due at once
    press(page, "#actions", "今すぐ取得")
    says(page, "#said", "取得しました")
    says(page, "#stations", f"{TENANT}.tomoe:tomoe")

    press(page, "#actions", "停止")
    says(page, "#poll-list", "⏸ 停止中")
    assert api.get("/api/v1/polls/tomoe").json()["paused"] is True
    press(page, "#actions", "再開")
    says(page, "#said", "再開しました")
    assert "geheim" not in page.evaluate("document.documentElement.outerHTML")
    assert page.evaluate(UNLABELLED) == [] and page.complaints() == []


def test_failure_shows_its_reason_and_what_came(
    page: Page, running_hub: HubProcess, api: httpx.Client, city: str
) -> None:
    put(api, "broken", f"{city}/gone.json", headers={"X-Key": "kept"})
    page.show(f"{running_hub.url}/polls?tenant={TENANT}&lang=en#poll=broken")
    says(page, "#why", "✕ the payload is not JSON")
    says(page, "#how pre", "<html>busy")
    press(page, "#actions", "Fetch now")
    says(page, "#poll-list", "failed (2 times in a row)")

    press(page, "#actions", "Change")
    assert json.loads(page.evaluate("document.getElementById('definition').value"))["headers"] == {"X-Key": "***"}
    page.evaluate("""document.getElementById('definition').value =
        document.getElementById('definition').value.replace('gone', 'levels')""")
    page.evaluate("document.querySelector('#edit button[type=submit]').click()")
    says(page, "#how", "✓ taken in")
    page.evaluate("window.confirm = () => true")
    press(page, "#actions", "Delete")
    says(page, "#said", "deleted")
    assert api.get("/api/v1/polls/broken").status_code == 404


def test_texts_are_there_in_both_languages() -> None:
    folder = WEB / "staff" / "polls" / "i18n"
    ja, en = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("ja", "en"))
    assert ja.keys() == en.keys()
    assert [key for key in ja if not ja[key] or not en[key]] == []
