# SPDX-License-Identifier: Apache-2.0
"""Where tokens are needed, in a real browser: the page asks for one, opens with it, and says when it does not fit."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from support.chromium import Chromium, Page, find_chromium
from support.hub import hub_for
from support.served import served

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the page is not tested"),
    pytest.mark.parametrize("store_mode", ["native"], indirect=True),
]

TOKEN = "a token of the tests"
STATION_LIST = "document.querySelector('#station-list') !== null"


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    hashed = hashlib.sha256(TOKEN.encode()).hexdigest()
    async with hub_for(database_url, api_tokens_sha256=(hashed,)) as hub, served(hub) as place:
        yield f"http://{place}/"


def sign_in(page: Page, url: str) -> tuple[str, bool]:
    """What the page says to a wrong token, and whether the live page comes with the right one."""
    page.show(url)
    page.wait_for("document.readyState === 'complete' && document.querySelector('#token') !== null")
    enter = "document.querySelector('#token').value = {!r}; document.querySelector('#form button').click()"
    page.evaluate(enter.format("wrong"))
    page.wait_for("!document.querySelector('#error').hidden")
    said = page.evaluate("document.querySelector('#error').innerText")
    page.evaluate(enter.format(TOKEN))
    return said, bool(page.wait_for(STATION_LIST))


async def test_a_wrong_token_is_told_in_words_and_the_right_one_opens_the_page(url: str) -> None:
    def look() -> tuple[str, bool]:
        with Chromium(CHROMIUM or "") as browser, browser.open_page() as page:
            return sign_in(page, url)

    said, opened = await asyncio.to_thread(look)
    assert "このトークンでは開けません" in said and "does not open the page" in said
    assert opened
