# SPDX-License-Identifier: Apache-2.0
"""Forecasts on the live page: shown as what they are, computed and not measured, and stale ones as stale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_page import DEAD_RUN, ROWS_SHOWN, flood_series, stations_answer, text_of

from support.chromium import Chromium, Page, find_chromium
from support.page_hub import HubState, PageHub

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested")

LISTED = "document.querySelector('#forecasts li') !== null"
# How the lines that the chart draws from now on are broken, by their colour.
WATCH_LINES = """
(() => {
  window.strokes = {};
  const stroke = CanvasRenderingContext2D.prototype.stroke;
  CanvasRenderingContext2D.prototype.stroke = function (...path) {
    (window.strokes[this.strokeStyle] ??= new Set()).add(this.getLineDash().join());
    return stroke.apply(this, path);
  };
  document.querySelector('button[data-range="6h"]').click();
  return true;
})()
"""


def colour(name: str) -> str:
    return f"getComputedStyle(document.documentElement).getPropertyValue('{name}').trim()"


def strokes(name: str) -> str:
    """How lines of this colour are broken, once there are any; null until then."""
    return f"(found => found ? [...found] : null)(window.strokes[{colour(name)}])"


def forecast(model: str, *, issued: int, expires: int, highest: float = 1.9, **members: Any) -> dict[str, Any]:
    """A run issued so many minutes ago that expires in so many, rising by ``highest`` within three hours."""
    now = datetime.now(UTC)
    issued_at = now - timedelta(minutes=issued)
    return {
        "runId": f"{model}:1",
        "model": model,
        "version": "2.1",
        "isBaseline": model == "minamo-baseline",
        "issuedAt": text_of(issued_at),
        "expiresAt": text_of(now + timedelta(minutes=expires)),
        "status": "current" if expires > 0 else "expired",
        "entityId": DEAD_RUN,
        "attribute": "waterLevel",
        "line": "",
        "unitCode": "MTR",
        "validAt": [text_of(issued_at + timedelta(minutes=20 * step)) for step in range(1, 13)],
        "values": [round(highest * step / 12, 3) for step in range(1, 13)],
    } | members


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium(str(CHROMIUM)) as browser:
        yield browser


@contextmanager
def shown(chromium: Chromium, *forecasts: dict[str, Any], path: str = "/?refresh=1") -> Iterator[tuple[Page, PageHub]]:
    """The page of a hub that has ``forecasts`` for the station that is chosen first."""
    state = HubState(stations=stations_answer, series=flood_series, forecasts=list(forecasts))
    with PageHub(state) as hub, chromium.open_page() as page:
        page.show(f"{hub.origin}{path}")
        page.wait_for(ROWS_SHOWN)
        yield page, hub


def test_forecast_says_model_time_of_the_run_and_how_high(chromium: Chromium) -> None:
    with shown(chromium, forecast("tomoe-rri", issued=12, expires=168)) as (page, _):
        page.wait_for(LISTED)
        text = page.evaluate("document.querySelector('#forecasts').innerText")
    assert "観測値ではありません" in text
    assert "tomoe-rri 2.1" in text and "計算（12分前）" in text and "まで有効" in text
    assert "今後の最高 1.900 m" in text and "氾濫危険水位に達する計算" in text


def test_forecast_is_a_broken_line_and_an_expired_one_is_dotted(chromium: Chromium) -> None:
    runs = (forecast("tomoe-rri", issued=12, expires=168), forecast("old-model", issued=120, expires=-5))
    with shown(chromium, *runs) as (page, _):
        page.wait_for(LISTED)
        page.evaluate(WATCH_LINES)
        (dash,) = page.wait_for(strokes("--chart-forecast"))
        dotted = page.wait_for(strokes("--muted"))
        measured = page.wait_for(strokes("--chart-line"))
    assert dash != "" and measured == [""] and any(one not in ("", dash) for one in dotted)


def test_expired_forecast_says_so_and_promises_nothing(chromium: Chromium) -> None:
    with shown(chromium, forecast("tomoe-rri", issued=190, expires=-10)) as (page, _):
        page.wait_for(LISTED)
        text = page.evaluate("document.querySelector('#forecasts').innerText")
    assert "期限切れ" in text and "今の見通しではありません" in text
    assert "今後の最高" not in text and "まで有効" not in text


def test_extrapolation_of_the_hub_stands_last_and_is_labelled(chromium: Chromium) -> None:
    runs = (forecast("minamo-baseline", issued=2, expires=28), forecast("tomoe-rri", issued=12, expires=168))
    with shown(chromium, *runs) as (page, _):
        page.wait_for(LISTED)
        items = page.evaluate("[...document.querySelectorAll('#forecasts li')].map(li => li.innerText)")
    assert "tomoe-rri" in items[0]
    assert "外挿（比較用の目安）" in items[1] and "1時間より先は判断に使わないでください" in items[1]


def test_values_are_a_table_in_the_unit_of_the_station_and_in_english(chromium: Chromium) -> None:
    run = forecast("tomoe-rri", issued=12, expires=168, unitCode="CMT", values=[10.0 * n for n in range(1, 13)])
    with shown(chromium, run, path="/?refresh=1&lang=en") as (page, _):
        page.wait_for(LISTED)
        last = "[...document.querySelectorAll('#forecasts tbody tr:last-child td')]"
        cells = page.evaluate(f"{last}.map(td => td.textContent)")
        text = page.evaluate("document.querySelector('#forecasts').innerText")
    assert cells[1:] == ["Forecast tomoe-rri", "1.200 m"]
    assert "not measured" in text and "issued" in text


def test_forecasts_that_cannot_be_had_are_not_taken_for_none(chromium: Chromium) -> None:
    with shown(chromium) as (page, hub):
        hub.state.forecasts = None
        page.evaluate("document.querySelectorAll('#station-list .row')[1].click()")
        page.wait_for("document.querySelector('#forecasts').innerText.includes('予測がないという意味ではありません')")
        page.evaluate("document.querySelectorAll('#station-list .row')[0].click()")


def test_without_forecasts_nothing_is_said_of_any(chromium: Chromium) -> None:
    with shown(chromium) as (page, hub):
        page.wait_for("document.querySelectorAll('#values tbody tr').length > 3")
        assert "/api/v1/forecasts" in hub.state.paths
        assert page.evaluate("document.querySelector('#forecasts').hidden") is True
