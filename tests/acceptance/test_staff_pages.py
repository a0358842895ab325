# SPDX-License-Identifier: Apache-2.0
"""The pages of contacts and drills in a real browser, on a real hub: fill in, save, enrol, exercise, look back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.channels.web_push import HubKey
from support.chromium import Chromium, Page, find_chromium
from support.hub_process import HubProcess
from support.push_service import PushBrowser
from support.staff_city import StaffCity

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested")

TENANT = "staffpages"
SAID = "document.querySelector('#said').innerText"
UNLABELLED = """[...document.querySelectorAll('input, select, textarea')]
    .filter(node => !node.labels.length && !node.getAttribute('aria-label')).map(node => node.outerHTML)"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium(str(CHROMIUM)) as browser:
        yield browser


@pytest.fixture(scope="module")
def city(running_hub: HubProcess) -> Iterator[StaffCity]:
    with StaffCity(running_hub.url, TENANT) as one:
        one.rule()
        one.measure("staff", 0.5, "大場")
        yield one


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    with chromium.open_page() as opened:
        yield opened


def open_contacts(page: Page, city: StaffCity) -> None:
    page.show(f"{city.http.base_url}/contacts?tenant={TENANT}")
    page.wait_for("document.querySelector('#plan-list table') !== null")


def fill(page: Page, label: str, value: str) -> None:
    """Type into the field of the form that is open with this label."""
    find = f"[...document.querySelectorAll('#edit label')].find(one => one.innerText.includes({json.dumps(label)}))"
    page.evaluate(f"(node => {{ node.value = {json.dumps(value)}; node.dispatchEvent(new Event('change')); }})"
                  f"({find}.querySelector('input, select'))")  # fmt: skip


def press(page: Page, text: str) -> None:
    """The button of the form that is open with this text."""
    page.evaluate(f"[...document.querySelectorAll('#editor button')].find(one => one.innerText === '{text}').click()")


def save(page: Page, name: str) -> None:
    press(page, "保存する")
    page.wait_for(f"{SAID}.includes('{name} を保存しました')")


def new(page: Page, kind: str, **values: str) -> None:
    page.evaluate(f"document.querySelector('#new-{kind}').click()")
    for label, value in values.items():
        fill(page, label, value)


def test_contact_group_and_plan_are_made_and_the_page_says_who_is_called(page: Page, city: StaffCity) -> None:
    open_contacts(page, city)
    assert "連絡計画がない" in page.evaluate("document.querySelector('#now').innerText")
    new(page, "contact", ID="desk", 名前="防災課 当番席")
    press(page, "＋ 手段")
    fill(page, "手段", "webhook")
    fill(page, "宛先", "https://hook.invalid/")
    fill(page, "秘密鍵", "0123456789abcdef")
    save(page, "防災課 当番席")
    new(page, "group", ID="duty", 名前="当番")
    press(page, "＋ メンバー")
    save(page, "当番")
    new(page, "plan", ID="all", 名前="全河川")
    page.evaluate("document.querySelector('#edit .checks input').click()")
    save(page, "全河川")
    now = page.wait_for("document.querySelector('#now').innerText")
    assert "すぐに" in now and "防災課 当番席" in now
    assert city.get("notification-plans/all")["steps"] == [["duty"]]
    assert page.evaluate(UNLABELLED) == [] and page.complaints() == []


def test_secret_is_kept_when_something_else_is_changed(page: Page, city: StaffCity) -> None:
    channel = {"type": "webhook", "address": "https://kept.invalid/", "secret": "0123456789abcdef"}
    city.put("contacts/kept", {"name": "前", "channels": [channel]})
    open_contacts(page, city)
    page.evaluate("[...document.querySelectorAll('#people-list .plain')].find(one => one.innerText === '前').click()")
    fill(page, "名前", "後")
    save(page, "後")
    assert city.get("contacts/kept") == {
        "id": "kept",
        "name": "後",
        "channels": [{"type": "webhook", "address": "https://kept.invalid/", "hasSecret": True}],
    }


def test_what_is_wrong_is_said_and_nothing_is_lost(page: Page, city: StaffCity) -> None:
    open_contacts(page, city)
    new(page, "contact", ID="wrong", 名前="誤り")
    press(page, "＋ 手段")
    fill(page, "宛先", "not an address")
    press(page, "保存する")
    page.wait_for("document.querySelector('#fault').innerText.includes('e-mail address')")
    assert page.evaluate("document.querySelector('#edit input').value") == "wrong"


def test_browser_is_enrolled_with_the_key_of_the_hub(page: Page, city: StaffCity) -> None:
    """What a push service would answer is put in its place: there is none within a closed network."""
    city.put("contacts/phone", {"name": "佐藤"})
    browser = PushBrowser("https://push.invalid", HubKey(bytes(32)).public)
    page.allow(origin(city), "notifications")
    open_contacts(page, city)
    page.evaluate(
        "PushManager.prototype.subscribe = async function (options) {"
        " window.asked = [...options.applicationServerKey].length;"
        f" return {{ toJSON: () => ({json.dumps(browser.subscription())}) }}; }}"
    )
    page.evaluate("document.querySelector('#push-contact').value = 'phone'")
    page.evaluate("document.querySelector('#push-label').value = '佐藤の電話'")
    page.evaluate("document.querySelector('#enrol').requestSubmit()")
    page.wait_for(f"{SAID}.includes('登録しました')")
    assert page.evaluate("window.asked") == 65
    (one,) = city.get("contacts/phone/browsers")["browsers"]
    assert (one["label"], one["service"]) == ("佐藤の電話", "push.invalid")


def test_push_message_is_shown_by_the_worker_with_the_page_closed(page: Page, city: StaffCity) -> None:
    page.allow(origin(city), "notifications")
    open_contacts(page, city)
    page.call("ServiceWorker.enable")
    register = "navigator.serviceWorker.register('static/staff/contacts/worker.js')"
    page.evaluate(f"{register}.then(one => window.registration = one).then(() => true)")
    page.wait_for("window.registration.active?.state === 'activated'")
    message = {
        "title": "【氾濫危険水位】三島大橋：到達",
        "body": "2.50 m",
        "tag": "a",
        "urgent": True,
        "alarmId": "x",
        "tenant": "drill-1",
    }
    for title in ("前の知らせ", message["title"]):
        data = json.dumps(message | {"title": title}, ensure_ascii=False)
        deliver(page, city, data)
        page.wait_for(f"window.registration.getNotifications().then(all => all[0]?.title === {json.dumps(title)})")
    look = "one => [one.body, one.requireInteraction, one.data.tenant]"
    shown = page.evaluate(f"window.registration.getNotifications().then(all => all.map({look}))")
    assert shown == [["2.50 m", True, "drill-1"]]  # the newer one has taken the place of the one before


def origin(city: StaffCity) -> str:
    return str(city.http.base_url).rstrip("/")


def deliver(page: Page, city: StaffCity, data: str) -> None:
    deadline = time.monotonic() + 10
    while not (found := registrations(page)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parameters = {"origin": origin(city), "registrationId": found[-1], "data": data}
    page.call("ServiceWorker.deliverPushMessage", parameters)


def registrations(page: Page) -> list[str]:
    events = page.events("ServiceWorker.workerRegistrationUpdated")
    return [one["registrationId"] for event in events for one in event["registrations"] if not one["isDeleted"]]


def test_drill_is_begun_watched_and_ended_and_its_report_says_who_got_what(page: Page, city: StaffCity) -> None:
    city.put("contacts/taking-part", {"name": "参加者"})
    city.put("contact-groups/drilled", {"name": "訓練班", "members": [{"contact": "taking-part"}]})
    city.put("notification-plans/drilled", {"name": "訓練", "steps": [["drilled"]]})
    page.show(f"{city.http.base_url}/drills?tenant={TENANT}")
    page.wait_for("document.querySelectorAll('#who input').length > 0")
    page.evaluate("document.querySelector('#title').value = '図上訓練'")
    who = "[...document.querySelectorAll('#who label')].find(one => one.innerText.includes('参加者'))"
    page.evaluate(f"{who}.querySelector('input').click()")
    page.evaluate("document.querySelector('#start').requestSubmit()")
    page.wait_for("document.querySelector('#watch-title').innerText === '図上訓練'")
    page.wait_for("document.querySelector('#inject-station').options.length > 0")
    page.evaluate("document.querySelector('#inject-value').value = '2.5'")
    page.evaluate("document.querySelector('#inject').requestSubmit()")
    page.wait_for("document.querySelector('#steps').innerText.includes('【訓練】staff橋')")
    page.wait_for("document.querySelector('#notices').innerText.includes('参加者')")
    assert "確認なし" in page.evaluate("document.querySelector('#answers').innerText")
    page.evaluate("window.confirm = () => true")
    page.evaluate("document.querySelector('#watch-actions .danger').click()")
    page.wait_for(f"{SAID}.includes('訓練を終えました')")
    page.wait_for("document.querySelector('#inject').hidden")
    report: dict[str, Any] = city.get("drills")["drills"][0]
    assert report["endedAt"] is not None and report["contacts"] == ["taking-part"]
    assert city.get("alarms")["alarms"] == []
    assert page.evaluate(UNLABELLED) == [] and page.complaints() == []


@pytest.mark.parametrize(
    ("path", "title"), [("contacts", "Contacts and shifts"), ("drills", "Drills"), ("rules", "Alert rules")]
)
def test_pages_speak_english(page: Page, city: StaffCity, path: str, title: str) -> None:
    page.show(f"{city.http.base_url}/{path}?tenant={TENANT}&lang=en")
    page.wait_for(f"document.title.startsWith('{title}') && document.querySelectorAll('td').length > 0")
    japanese = (
        "[...document.querySelectorAll('h2, legend, th[scope=col], label span')].map(one => one.innerText).join()"
    )
    assert not page.evaluate(f"({japanese}).match(/[ぁ-ん]/)")


def open_rules(page: Page, city: StaffCity) -> None:
    page.show(f"{city.http.base_url}/rules?tenant={TENANT}")
    page.wait_for("document.querySelectorAll('#rule-list tbody td').length > 1")


def test_rules_show_levels_by_name_and_are_changed_by_a_form(page: Page, city: StaffCity) -> None:
    when = {"level": {"atLeast": 3.0, "hysteresis": 0.3}}
    city.rule(levels=[{"stage": "caution", "threshold": 1.0}, {"stage": "danger", "when": when}])
    open_rules(page, city)
    shown = page.evaluate("document.querySelector('#rule-list').innerText")
    assert "氾濫注意水位" in shown and "1.000 m" in shown and "条件" in shown
    page.evaluate("document.querySelector('#rule-list .plain').click()")
    fill(page, "戻り幅", "0.2")
    fill(page, "水位（m）", "1.25")
    save(page, "巴川の水位")
    rule = city.get("alert-rules/levels")
    assert (rule["hysteresis"], rule["levels"][0]["threshold"]) == (0.2, 1.25)
    assert rule["levels"][1] == {"stage": "danger", "when": when} and "escalateAfter" not in rule
    assert page.evaluate(UNLABELLED) == [] and page.complaints() == []


def test_station_has_thresholds_of_its_own(page: Page, city: StaffCity) -> None:
    city.rule()
    open_rules(page, city)
    page.evaluate("document.querySelector('#rule-list .plain').click()")
    press(page, "＋ 局")
    station = "urn:ngsi-ld:WaterObserved:own"
    page.evaluate(f"document.querySelectorAll('#edit .line.wide, #edit label.wide input')[0].value = '{station}'")
    page.evaluate("document.querySelectorAll('#edit .thresholds input')[1].value = '2.75'")
    save(page, "巴川の水位")
    levels = city.get("alert-rules/levels")["overrides"][station]["levels"]
    assert [level["threshold"] for level in levels] == [1.0, 2.75]


def test_rule_in_the_form_is_tried_on_the_record_before_it_is_saved(page: Page, city: StaffCity) -> None:
    city.rule(levels=[{"stage": "danger", "threshold": 9.0}])
    for minutes, level in ((90, 0.5), (60, 1.5), (30, 0.5)):
        city.measure("tried", level, "試", minutes_ago=minutes)
    open_rules(page, city)
    page.evaluate("document.querySelector('#rule-list .plain').click()")
    fill(page, "水位（m）", "1.2")
    page.evaluate("document.querySelector('#replay').requestSubmit()")
    page.wait_for("document.querySelector('#timeline').innerText.includes('tried橋')")
    shown = page.evaluate("document.querySelector('.station-replay').innerText")
    assert "到達" in shown and "1.500 m" in shown and "解除" in shown
    assert page.evaluate("document.querySelectorAll('.station-replay .plot .step').length") == 2
    assert city.get("alert-rules/levels")["levels"][0]["threshold"] == 9.0


def test_rules_of_a_yaml_file_are_checked_before_they_are_taken(page: Page, city: StaffCity) -> None:
    city.rule()
    open_rules(page, city)
    text = (
        "rules:\n  - id: from-file\n    name: {ja: ファイルのルール}\n    entities: {ids: ['urn:x:1']}\n"
        "    attribute: waterLevel\n    levels:\n      - {stage: caution, threshold: 2.0}\n"
        "      - {stage: danger, threshold: 1.0}\n"
    )
    page.evaluate(
        f"(files => {{ files.items.add(new File([{json.dumps(text)}], 'rules.yaml'));"
        " document.querySelector('#import-file').files = files.files; })(new DataTransfer())"
    )
    result = "document.querySelector('#import-result').innerText"
    page.evaluate("document.querySelector('#import').requestSubmit()")
    page.wait_for(f"{result}.includes('登録していません') && {result}.includes('⚠ levels[1]')")
    assert city.http.get("/api/v1/alert-rules/from-file").status_code == 404
    page.evaluate("document.querySelector('#import-do').click()")
    page.wait_for(f"{result}.includes('登録しました')")
    assert city.get("alert-rules/from-file")["name"]["ja"] == "ファイルのルール"
