# SPDX-License-Identifier: Apache-2.0
"""What stands beside the level in a message, in all languages."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from test_contacts_words import ORDERS

from broker.contacts import languages, words_of
from support.alarm_steps import step

JAPAN = ZoneInfo("Asia/Tokyo")
PAGE = "https://city.example.jp/alarms?tenant=mishima"


def lines(language: str = "ja", **members: Any) -> list[str]:
    return words_of(step(**members), language, JAPAN).text.splitlines()


@pytest.mark.parametrize(
    ("language", "change", "line"),
    [
        ("ja", 0.32, "傾向: 60分で +0.32 m（上昇中）"),
        ("ja", -0.32, "傾向: 60分で -0.32 m（下降中）"),
        ("ja", 0.019, "傾向: 60分で +0.019 m（ほぼ横ばい）"),
        ("ja-easy", 0.32, "60分で 0.32 m ふえました。"),
        ("en", 0.32, "Trend: +0.32 m in 60 min (rising)"),
        ("pt", -0.32, "↓ -0.32 m / 60 min"),
    ],
)
def test_trend_is_said_with_its_sign_its_time_and_a_word(language: str, change: float, line: str) -> None:
    assert line in lines(language, trend={"change": change, "seconds": 3600})


def test_slow_and_fast_is_judged_by_the_hour() -> None:
    assert "傾向: 20分で +0.01 m（上昇中）" in lines(trend={"change": 0.01, "seconds": 1200})


@pytest.mark.parametrize("language", languages())
def test_every_language_leads_to_the_page_and_orders_nobody(language: str) -> None:
    text = "\n".join(lines(language, page=PAGE, trend={"change": 0.32, "seconds": 3600}))
    assert PAGE in text and not any(order in text for order in ORDERS)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"kind": "raised"}, ["確認"]),
        ({"kind": "silent", "unknown": True}, ["現地"]),
        ({"kind": "raised", "stage": "no_data"}, ["確認", "現地"]),
        ({"kind": "cleared"}, []),
        ({"kind": "acknowledged"}, []),
    ],
)
def test_what_to_do_next_depends_on_what_happened(members: dict[str, Any], said: list[str]) -> None:
    found = [line for line in lines(page="", **members) if line.startswith("次にすること")]
    assert len(found) == len(said) and all(word in line for word, line in zip(said, found, strict=True))
