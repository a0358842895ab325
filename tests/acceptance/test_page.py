# SPDX-License-Identifier: Apache-2.0
"""The live page in a real browser: what an officer sees, and what the page must never do.

A stand-in hub (support/page_hub.py) serves the page with its strict Content-Security-Policy and plays the hub's part,
so each test decides what the hub says. Needs an installed Chromium; skipped without one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.stages import STAGES
from support.chromium import Chromium, Page, find_chromium
from support.page_hub import WEB, HubState, PageHub

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested")

DEAD_RUN = "urn:ngsi-ld:WaterObserved:01589330"
THRESHOLDS = [("standby", 0.6), ("caution", 0.9), ("evacuation_decision", 1.2), ("danger", 1.5)]
ROWS_SHOWN = "document.querySelectorAll('#station-list .row').length === 3"


def text_of(at: datetime) -> str:
    """A time as the hub writes it."""
    return at.isoformat().replace("+00:00", "Z")


def station(name: str, entity_id: str, value: float | None, age: float, **other: Any) -> dict[str, Any]:
    """A live water level station in the shape of the hub's answer."""
    return {
        "entityId": entity_id,
        "deviceId": f"device of {name}",
        "name": name,
        "types": ["WaterObserved"],
        "location": [-76.717, 39.311],
        "attribute": "waterLevel",
        "unitCode": "MTR",
        "value": value,
        "observedAt": text_of(datetime.now(UTC) - timedelta(seconds=age)),
        "ageSeconds": age,
        "expectedIntervalSeconds": 300,
        "status": "live",
        "stage": None,
        "thresholds": [{"stage": stage, "value": level} for stage, level in THRESHOLDS],
        "trend": None,
    } | other


def stations_answer() -> dict[str, Any]:
    """One river in danger, one calm, and one that fell silent while it was at caution."""
    names = {"name_ja": "nameJa", "name_en": "nameEn"}
    silent = {"status": "missing", "stage": "caution", "location": [-2.01, 53.74]}
    return {
        "generatedAt": text_of(datetime.now(UTC)),
        "stages": [{names.get(key, key): value for key, value in asdict(stage).items()} for stage in STAGES],
        "stations": [
            station("Calm Brook", "urn:ngsi-ld:WaterObserved:calm", 0.2, 30, location=[-2.05, 53.73]),
            station("Silent Weir", "urn:ngsi-ld:WaterObserved:silent", 1.014, 90_000, **silent),
            station("Dead Run", DEAD_RUN, 1.518, 20, stage="danger"),
        ],
    }


def alert(number: int, stage: str, threshold: float, value: float, cleared: bool = False) -> dict[str, Any]:
    """An alert of the Dead Run station."""
    now = datetime.now(UTC)
    return {
        "id": f"urn:ngsi-ld:Alert:{number}",
        "entityId": DEAD_RUN,
        "stationName": "Dead Run",
        "stage": stage,
        "threshold": threshold,
        "value": value,
        "peakValue": value,
        "raisedAt": text_of(now - timedelta(minutes=5)),
        "clearedAt": text_of(now) if cleared else None,
        "status": "cleared" if cleared else "raised",
    }


def flood_series(_entity_id: str, _attribute: str, _start: float, end: float) -> list[list[float]]:
    """Two hours of 5-minute levels with half an hour missing in the middle."""
    times = [end - 300 * step for step in range(24, 0, -1)]
    return [[at, round(0.3 + 0.05 * i, 3)] for i, at in enumerate(times) if not 9 <= i <= 14]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One browser for the module; WebGL in software, so that the map is really drawn."""
    with Chromium(str(CHROMIUM), ("--enable-unsafe-swiftshader",)) as browser:
        yield browser


@pytest.fixture
def hub() -> Iterator[PageHub]:
    """A hub with three stations, one open alert and a flood in its history."""
    state = HubState(stations=stations_answer, alerts=[alert(1, "caution", 0.9, 1.14)], series=flood_series)
    with PageHub(state) as running:
        yield running


@pytest.fixture
def page(chromium: Chromium, hub: PageHub) -> Iterator[Page]:
    """The page, refreshed every second, once its stations are listed."""
    with chromium.open_page() as opened:
        opened.show(f"{hub.origin}/?refresh=1")
        opened.wait_for(ROWS_SHOWN)
        yield opened


def rows(page: Page) -> list[str]:
    """Text of each row of the list, in order."""
    texts: list[str] = page.evaluate("[...document.querySelectorAll('#station-list .row')].map(r => r.innerText)")
    return texts


def test_stations_are_listed_worst_first_with_their_stage_in_words(page: Page) -> None:
    first, second, third = rows(page)
    assert "Dead Run" in first and "氾濫危険水位" in first and "1.518 m" in first
    assert "Silent Weir" in second
    assert "Calm Brook" in third and "平常" in third


def test_each_stage_is_told_by_colour_and_shape_too(page: Page) -> None:
    path = "document.querySelector('#station-list .row .symbol path')"
    assert page.evaluate(f"{path}.getAttribute('fill')") == "#AD02AD"
    square = page.evaluate("document.querySelector('[data-kind=danger] path').getAttribute('d')")
    assert page.evaluate(f"{path}.getAttribute('d')") == square


def test_a_missing_station_looks_missing_and_keeps_its_last_value_and_stage(page: Page) -> None:
    text = rows(page)[1]
    assert "欠測" in text and "最終値" in text and "1.014 m" in text and "直前 氾濫注意水位" in text
    symbol = "document.querySelectorAll('#station-list .row')[1].querySelector('.symbol')"
    assert page.evaluate(f"{symbol}.classList.contains('is-dashed')")
    assert page.evaluate(f"{symbol}.querySelector('path').getAttribute('fill')") == "#AAAAAA"


def test_a_missing_station_says_nothing_about_the_present(page: Page) -> None:
    page.evaluate("document.querySelectorAll('#station-list .row')[1].click()")
    page.wait_for("document.querySelector('#detail-title').innerText.includes('Silent Weir')")
    facts = page.evaluate("document.querySelector('#facts').innerText")
    assert facts.count("不明") == 2


def test_the_language_switches_to_english_and_is_remembered(page: Page, hub: PageHub) -> None:
    page.evaluate("document.querySelector('button[data-lang=en]').click()")
    page.wait_for("document.documentElement.lang === 'en'")
    assert "Flood danger level" in rows(page)[0]
    page.show(f"{hub.origin}/?refresh=1&again")
    page.wait_for("location.search.includes('again')")
    page.wait_for("document.documentElement.lang === 'en'")


def test_the_language_can_be_asked_for_in_the_address(chromium: Chromium, hub: PageHub) -> None:
    with chromium.open_page() as page:
        page.show(f"{hub.origin}/?lang=en")
        page.wait_for(ROWS_SHOWN)
        assert "Missing" in rows(page)[1]


def test_an_alert_arrives_by_the_stream_and_interrupts_a_screen_reader(page: Page, hub: PageHub) -> None:
    page.wait_for("document.querySelectorAll('#alerts .alert').length === 1")
    page.wait_for("document.querySelector('#connection').dataset.state === 'ok'")
    hub.state.send("raised", alert(2, "danger", 1.5, 1.518))
    page.wait_for("document.querySelectorAll('#alerts .alert').length === 2", timeout=3)
    first = page.evaluate("document.querySelector('#alerts .alert').innerText")
    assert "氾濫危険水位" in first and "1.518 m ≥ 1.500 m" in first and "発生中" in first
    assert "Dead Run" in page.evaluate("document.querySelector('#announce-assertive').innerText")


def test_a_cleared_alert_moves_down_and_shows_when_it_was_cleared(page: Page, hub: PageHub) -> None:
    page.wait_for("document.querySelector('#connection').dataset.state === 'ok'")
    hub.state.send("cleared", alert(1, "caution", 0.9, 1.14, cleared=True))
    page.wait_for("document.querySelector('#alerts .is-past .alert') !== null", timeout=3)
    text = page.evaluate("document.querySelector('#alerts').innerText")
    assert "発生中のアラートはありません。" in text
    assert page.evaluate("document.querySelector('#alerts .is-past .alert-times').innerText").count("解除") == 1


def test_choosing_an_alert_chooses_its_station(page: Page) -> None:
    page.evaluate("document.querySelectorAll('#station-list .row')[2].click()")
    page.wait_for("document.querySelector('#detail-title').innerText.includes('Calm Brook')")
    page.evaluate("document.querySelector('#alerts .alert').click()")
    page.wait_for("document.querySelector('#detail-title').innerText.includes('Dead Run')")


def test_the_table_beside_the_hydrograph_names_the_gap(page: Page) -> None:
    page.wait_for("document.querySelectorAll('#values tbody tr').length === 19")
    page.evaluate("document.querySelector('details.values').open = true")
    cells = page.evaluate("[...document.querySelectorAll('#values tbody td')].map(c => c.innerText)")
    assert cells.count("欠測") == 1
    assert cells[1] == "1.450 m"


def test_the_hydrograph_is_drawn(page: Page) -> None:
    page.wait_for("document.querySelector('#chart canvas') !== null")
    assert page.wait_for("document.querySelector('#readout').innerText").startswith("最新")


# What the hydrograph says of its last three points; in one go, because each answer of the hub draws it anew.
WALKED_BACK = """
[1, 2, 3].map(() => {
  document.querySelector("#chart").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  return document.querySelector("#readout").innerText;
})
"""


def test_a_year_is_drawn_of_points_that_the_hub_chose_with_its_gaps(page: Page, hub: PageHub) -> None:
    hub.state.overview = lambda _id, _name, start, end: [(start + 9e4, 0.1), (start + 9e6, None), (end - 9e6, 2.5)]
    hub.state.series = lambda _id, _name, _start, _end: []
    page.evaluate("document.querySelector('button[data-range=\"1y\"]').click()")
    page.wait_for("document.querySelector('#readout').innerText.includes('2.500 m')")
    latest, gap, first = page.evaluate(WALKED_BACK)
    assert "2.500 m" in latest and "欠測" in gap and "0.100 m" in first
    assert f"/api/v1/entities/{DEAD_RUN.replace(':', '%3A')}/series/waterLevel" in hub.state.paths


def test_the_newest_readings_stay_known_one_by_one_in_a_long_range(page: Page, hub: PageHub) -> None:
    hub.state.series = lambda _id, _name, _start, end: [[end - 300 * step, 2 - step / 100] for step in range(24, 0, -1)]
    page.evaluate("document.querySelector('button[data-range=\"30d\"]').click()")
    page.wait_for("document.querySelector('button[data-range=\"30d\"]').getAttribute('aria-pressed') === 'true'")
    page.wait_for("document.querySelectorAll('#values tbody tr').length === 20")
    assert "↑" in page.evaluate("document.querySelector('#facts').innerText")


def test_the_arrow_keys_walk_through_the_list(page: Page) -> None:
    page.evaluate("document.querySelector('#station-list .row').focus()")
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("Enter")
    page.wait_for("document.querySelector('#detail-title').innerText.includes('Calm Brook')")
    assert page.evaluate("document.activeElement.innerText.includes('Calm Brook')")


def test_the_filter_limits_the_list_by_name(page: Page) -> None:
    write = "field.value = 'weir'; field.dispatchEvent(new Event('input'))"
    page.evaluate(f"(field => {{ {write} }})(document.querySelector('#filter'))")
    assert len(rows(page)) == 1 and "Silent Weir" in rows(page)[0]


def test_stations_are_real_buttons_on_the_map_and_far_ones_are_another_area(page: Page) -> None:
    page.wait_for("document.querySelectorAll('.marker').length >= 1", timeout=30)
    assert page.evaluate("document.querySelector('.marker').tagName") == "BUTTON"
    assert "氾濫危険水位" in page.evaluate("document.querySelector('.marker[aria-current]').getAttribute('aria-label')")
    areas = page.evaluate("[...document.querySelectorAll('#map-tools [role=group] button')].map(b => b.innerText)")
    assert areas == ["Calm Brook ほか1局", "Dead Run", "全体"]


def test_a_hub_out_of_reach_is_said_loudly_with_the_time_of_the_data(page: Page, hub: PageHub) -> None:
    hub.state.failing = True
    page.wait_for("!document.querySelector('#banner').hidden")
    assert "サーバーに接続できません" in page.evaluate("document.querySelector('#banner').innerText")
    assert "JST" in page.evaluate("document.querySelector('#banner').innerText")
    hub.state.failing = False
    page.wait_for("document.querySelector('#banner').hidden")


def test_stations_of_a_hub_out_of_reach_turn_late_by_themselves(page: Page, hub: PageHub) -> None:
    soon = stations_answer() | {"stations": [station("Fast Gauge", DEAD_RUN, 0.2, 1, expectedIntervalSeconds=1)]}
    hub.state.stations = lambda: soon | {"generatedAt": text_of(datetime.now(UTC))}
    page.wait_for("document.querySelector('#station-list .row').innerText.includes('平常')")
    hub.state.failing = True
    page.wait_for("document.querySelector('#station-list .row').innerText.includes('遅延')")


def test_nothing_is_asked_of_any_other_host_and_nothing_is_complained_about(page: Page, hub: PageHub) -> None:
    page.wait_for("document.querySelectorAll('.marker').length >= 1", timeout=30)
    time.sleep(1)  # base map tiles are cut by the worker after the markers stand
    outside = [url for url in page.requested_urls() if not url.startswith((hub.origin, "data:"))]
    assert outside == []
    assert [text for text in page.complaints() if "GL Driver Message" not in text] == []
    assert "/static/basemap/land.geojson" in hub.state.paths


def test_inline_script_is_refused(page: Page) -> None:
    insert = "script.textContent = 'window.intruded = true'; document.head.append(script)"
    page.evaluate(f"(script => {{ {insert} }})(document.createElement('script'))")
    assert page.evaluate("window.intruded === undefined")


def test_a_name_with_markup_stays_text(page: Page, hub: PageHub) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    answer = stations_answer() | {"stations": [station(hostile, DEAD_RUN, 0.2, 1)]}
    hub.state.stations = lambda: answer
    page.wait_for("document.querySelectorAll('#station-list .row').length === 1")
    assert hostile in rows(page)[0]
    assert page.evaluate("document.querySelectorAll('img').length") == 0


def test_without_webgl_the_list_and_the_hydrograph_work(hub: PageHub) -> None:
    with Chromium(str(CHROMIUM), ("--disable-3d-apis",)) as browser:
        page = browser.open_page()
        page.show(f"{hub.origin}/")
        page.wait_for(ROWS_SHOWN)
        page.wait_for("document.querySelector('#map-message').innerText.includes('WebGL')")
        page.wait_for("document.querySelector('#chart canvas') !== null")
        assert page.complaints() == []


def test_a_phone_of_360_pixels_needs_no_sideways_scrolling(chromium: Chromium, hub: PageHub) -> None:
    metrics = {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    with chromium.open_page() as page:
        page.call("Emulation.setDeviceMetricsOverride", metrics)
        page.show(f"{hub.origin}/?lang=en")
        page.wait_for(ROWS_SHOWN)
        page.wait_for("document.querySelector('#chart canvas') !== null")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


# Contrast (WCAG 1.4.3) of every visible text with the nearest painted surface behind it; the map has none of its own.
CONTRASTS = r"""
(() => {
  const parts = colour => {
    const numbers = colour.match(/[\d.]+/g).map(Number);
    return colour.startsWith("color(") ? numbers.slice(-3).map(part => part * 255) : numbers.slice(0, 3);
  };
  const opaque = colour => !/rgba\(.*, 0\)/.test(colour);
  const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const surface = node => {
    while (node && !opaque(getComputedStyle(node).backgroundColor)) node = node.parentElement;
    return node ? getComputedStyle(node).backgroundColor : "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const low = [];
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility() || node.closest(".map, script, noscript")) continue;
    const [ink, paper] = [getComputedStyle(node).color, surface(node)];
    const [dark, light] = [luminance(parts(ink)), luminance(parts(paper))].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) low.push(`${text.data.trim()}: ${ink} on ${paper} ${contrast.toFixed(2)}`);
  }
  return low;
})()
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("failing", [False, True], ids=["hub there", "hub lost"])
def test_every_text_has_enough_contrast(page: Page, hub: PageHub, theme: str, failing: bool) -> None:
    page.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
    page.wait_for("document.querySelectorAll('#alerts .alert').length === 1")
    hub.state.failing = failing
    page.wait_for(f"document.body.classList.contains('is-lost') === {json.dumps(failing)}")
    assert page.evaluate(CONTRASTS) == []


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_every_language_has_every_text(lang: str) -> None:
    texts = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (WEB / "i18n").glob("*.json")}
    assert texts[lang].keys() == texts["ja"].keys()
    assert all(texts[lang].values())


def incident(*alarms: dict[str, Any]) -> dict[str, Any]:
    """What happens on a river."""
    waiting = sum(one["status"] == "open" for one in alarms)
    name = {"ja": "デッド川", "en": "Dead Run"}
    return {"incidentId": "i", "name": name, "unacknowledged": waiting, "alarms": list(alarms)}


def alarm(**members: Any) -> dict[str, Any]:
    """An open alarm of the Dead Run station."""
    usual = {"alarmId": "dead-run:1", "entityId": DEAD_RUN, "status": "open", "stage": "danger", "escalation": 0}
    names = {"stationName": {"ja": "デッドラン", "en": "Dead Run"}, "unknown": False, "unstable": False}
    people = dict.fromkeys(("acknowledgedBy", "shelvedUntil", "shelvedBy", "shelveReason"))
    return usual | names | people | members


def type_into(page: Page, selector: str, text: str) -> None:
    page.evaluate(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")


def press_button(page: Page, action: str) -> None:
    """The button, by the keyboard, once it is there."""
    page.wait_for(f"document.querySelector('#incidents [data-action={action}]') !== null", timeout=8)
    page.evaluate(f"document.querySelector('#incidents [data-action={action}]').focus()")
    page.press("Enter")
    page.wait_for("document.querySelector('#incidents form') !== null")


def test_alarms_stand_by_river_with_what_is_known_of_them(page: Page, hub: PageHub) -> None:
    hub.state.incidents = [incident(alarm(unknown=True, escalation=2))]
    page.wait_for("document.querySelector('#incidents .alarm') !== null", timeout=8)
    text = page.evaluate("document.querySelector('#incidents').innerText")
    assert "デッド川" in text and "未確認 1 件" in text and "現在の水位は不明" in text and "再通知 2 回" in text


def test_an_alarm_is_acknowledged_by_the_keyboard_with_a_name_that_is_remembered(page: Page, hub: PageHub) -> None:
    hub.state.incidents = [incident(alarm())]
    press_button(page, "acknowledge")
    type_into(page, "#incidents input[autocomplete=name]", "佐藤")
    hub.state.incidents = [incident(alarm(status="acknowledged", acknowledgedBy="佐藤"))]
    page.press("Enter")
    page.wait_for("document.querySelector('#incidents').innerText.includes('確認済み 佐藤')")
    assert hub.state.posted == [("/api/v1/alarms/dead-run:1/acknowledge", {"by": "佐藤"})]
    press_button(page, "shelve")
    assert page.evaluate("document.querySelector('#incidents input[autocomplete=name]').value") == "佐藤"


def test_shelving_asks_for_a_reason_and_escape_leaves_it(page: Page, hub: PageHub) -> None:
    hub.state.incidents = [incident(alarm())]
    press_button(page, "shelve")
    page.evaluate("document.querySelector('#incidents form [type=submit]').click()")
    page.wait_for("document.querySelector('.alarm-problem').innerText.includes('理由')")
    type_into(page, "#incidents input[maxlength='1000']", "点検")
    page.evaluate("document.querySelector('#incidents form [type=submit]').click()")
    page.wait_for("document.querySelector('#incidents form') === null")
    (path, body) = hub.state.posted[0]
    assert path.endswith("/shelve") and body["reason"] == "点検" and body["seconds"] == 1800
    press_button(page, "shelve")
    page.press("Escape")
    page.wait_for("document.querySelector('#incidents form') === null")
    assert page.evaluate("document.activeElement.dataset.action") == "shelve"


def test_what_is_typed_is_not_lost_when_news_arrive_and_a_refusal_is_said(page: Page, hub: PageHub) -> None:
    hub.state.incidents = [incident(alarm())]
    hub.state.refusal = "解除済みです"
    press_button(page, "acknowledge")
    type_into(page, "#incidents input[maxlength='1000']", "現地へ")
    hub.state.send("raised", alert(2, "danger", 1.5, 1.518))
    page.wait_for("document.querySelectorAll('#alerts .alert').length === 2", timeout=5)
    assert page.evaluate("document.querySelector(\"#incidents input[maxlength='1000']\").value") == "現地へ"
    page.evaluate("document.querySelector('#incidents form [type=submit]').click()")
    page.wait_for("document.querySelector('.alarm-problem').innerText === '解除済みです'")
