# SPDX-License-Identifier: Apache-2.0
"""The page of alarms in a real browser, on a real hub: what is going on, who was told, and the buttons."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.chromium import Chromium, Page, find_chromium
from support.hub_process import HubProcess
from support.page_hub import WEB
from support.staff_city import StaffCity

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested")

TENANT = "alarmspage"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium(str(CHROMIUM)) as browser:
        yield browser


@pytest.fixture(scope="module")
def city(running_hub: HubProcess) -> Iterator[StaffCity]:
    """Somebody who cannot be reached is to be told about two rivers."""
    with StaffCity(running_hub.url, TENANT) as one:
        one.put("contacts/desk", {"name": "防災課 当番席"})
        one.put("contact-groups/duty", {"name": "当番", "members": [{"contact": "desk"}]})
        one.put("notification-plans/all", {"name": "全部", "steps": [["duty"]]})
        one.rule()
        yield one


@pytest.fixture
def page(chromium: Chromium, running_hub: HubProcess, city: StaffCity) -> Iterator[Page]:
    with chromium.open_page() as opened:
        opened.show(f"{running_hub.url}/alarms?tenant={TENANT}")
        opened.wait_for("Boolean(document.querySelector('#headline')?.innerText)")
        yield opened


def block(entity_name: str) -> str:
    """The text of a station's block."""
    places = "[...document.querySelectorAll('.alarm')]"
    return f"({places}.find(one => one.innerText.includes('{entity_name}橋'))?.innerText ?? '')"


def test_what_where_how_high_since_when_and_who_is_seen_at_once(page: Page, city: StaffCity) -> None:
    city.measure("high", 1.2, "大場", minutes_ago=70)
    city.alarm(city.measure("high", 2.5, "大場", minutes_ago=5))
    shown = page.wait_for(f"{block('high')}.includes('2.500 m') && {block('high')}")
    assert "氾濫危険水位" in shown and "基準 2.000 m（差 +0.500 m）" in shown
    assert "！未確認" in shown and "上昇" in shown and "から（" in shown
    assert page.evaluate("document.querySelector('#headline').innerText").startswith("最高 氾濫危険水位（high橋）")
    assert "大場川" in page.evaluate("document.querySelector('.incident-head').innerText")
    symbol = "document.querySelector('.alarm .symbol path').getAttribute('d')"
    assert page.evaluate(symbol)  # a shape beside the colour
    assert page.complaints() == []


def test_what_is_missing_is_said_above_everything(page: Page, city: StaffCity) -> None:
    city.alarm(city.measure("missed", 1.5, "巴"))
    missing = "document.querySelector('#missing').innerText"
    page.wait_for(f"{missing}.includes('未確認の警報') && {missing}.includes('知らせが届いていない人 1 人')")
    page.wait_for(f"{block('missed')}.includes('失敗 1 件')")
    page.evaluate("document.querySelectorAll('.alarm details').forEach(one => one.open = true)")
    page.wait_for("document.querySelector('.alarm details').innerText.includes('連絡手段がありません')")


def test_alarm_is_acknowledged_by_keyboard_and_the_audit_says_by_whom(page: Page, city: StaffCity) -> None:
    alarm = city.alarm(city.measure("seen", 1.5, "狩野"))["alarmId"]
    button = f"document.querySelector('[data-alarm=\"{alarm}\"][data-action=acknowledge]')"
    page.wait_for(f"{button} !== null")
    page.evaluate(f"{button}.focus()")
    page.press("Enter")
    page.wait_for("document.activeElement.tagName === 'INPUT'")
    page.call("Input.insertText", {"text": "鈴木"})
    page.press("Enter")
    page.wait_for(f"{block('seen')}.includes('確認済み：鈴木')")
    assert city.get(f"alarms/{alarm}")["acknowledgedBy"] == "鈴木"
    page.evaluate("document.querySelector('#audit').open = true")
    page.wait_for("document.querySelector('#audit-list').innerText.includes('警報を確認')")
    assert "鈴木" in page.evaluate("document.querySelector('#audit-list').innerText")


def test_shelf_needs_a_reason_and_an_end(page: Page, city: StaffCity) -> None:
    alarm = city.alarm(city.measure("shelved", 1.5, "黄瀬"))["alarmId"]
    button = f"document.querySelector('[data-alarm=\"{alarm}\"][data-action=shelve]')"
    page.wait_for(f"{button} !== null")
    page.evaluate(f"{button}.click()")
    page.evaluate("document.querySelector('.alarm-form').requestSubmit()")
    page.wait_for("document.querySelector('.alarm-problem').innerText.includes('理由')")
    page.evaluate("document.querySelectorAll('.alarm-form input')[1].value = '点検中'")
    page.evaluate("document.querySelector('.alarm-form').requestSubmit()")
    page.wait_for(f"{block('shelved')}.includes('点検中') && {block('shelved')}.includes('まで')")
    assert city.get(f"alarms/{alarm}")["status"] == "shelved"


def test_form_that_is_open_is_left_alone_by_news(page: Page, city: StaffCity) -> None:
    entity = city.measure("typing", 1.5, "柿田")
    alarm = city.alarm(entity)["alarmId"]
    button = f"document.querySelector('[data-alarm=\"{alarm}\"][data-action=acknowledge]')"
    page.wait_for(f"{button} !== null")
    page.evaluate(f"{button}.click()")
    page.evaluate("document.querySelector('.alarm-form input').value = '途中'")
    city.measure("typing", 2.5, "柿田", minutes_ago=-1)
    page.wait_for("document.querySelector('#headline').innerText.includes('氾濫危険水位')")
    other = city.alarm(city.measure("news", 1.5, "安倍"))["alarmId"]
    page.wait_for(f"document.querySelector('[data-alarm=\"{other}\"]') !== null")
    assert page.evaluate("document.querySelector('.alarm-form input').value") == "途中"


def test_drill_is_marked_above_everything(chromium: Chromium, running_hub: HubProcess) -> None:
    with StaffCity(running_hub.url, "drill-alarmspage") as drill, chromium.open_page() as opened:
        opened.show(f"{running_hub.url}/alarms?tenant={drill.tenant}")
        opened.wait_for("document.querySelector('#drill-mark')?.innerText.includes('訓練')")
        assert opened.evaluate("document.querySelector('#nav a').href").endswith(f"/?tenant={drill.tenant}")


def test_page_speaks_english_and_everything_in_it_has_a_name(page: Page) -> None:
    page.evaluate("document.querySelector('button[data-lang=en]').click()")
    page.wait_for("document.documentElement.lang === 'en' && document.title.startsWith('Alarms')")
    page.wait_for("document.querySelector('.alarm-actions button')?.innerText.match(/^[A-Z]/)")
    nameless = """[...document.querySelectorAll('input, select, button, a, summary, nav, [role=img]')]
        .filter(node => !node.labels?.length && !node.getAttribute('aria-label') && !node.textContent.trim())
        .filter(node => node.offsetParent !== null).map(node => node.outerHTML)"""
    assert page.evaluate(nameless) == []
    japanese = "[...document.querySelectorAll('main, nav')].map(one => one.innerText).join().match(/[ぁ-ん]/)"
    assert page.evaluate(japanese) is None


def test_texts_of_staff_pages_are_there_in_both_languages() -> None:
    ja, en = (
        json.loads((WEB / "staff" / "i18n" / f"{name}.json").read_text(encoding="utf-8")) for name in ("ja", "en")
    )
    assert ja.keys() == en.keys()
    assert [key for key in ja if not ja[key] or not en[key]] == []
