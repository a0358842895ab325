# SPDX-License-Identifier: Apache-2.0
"""The files of the pages: what all have in common is made by one script (``web/app/shell.js``)."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from api.http.pages import PAGES

WEB = resources.files("web")


@pytest.mark.parametrize("name", PAGES.values())
def test_page_says_without_javascript_that_it_needs_it(name: str) -> None:
    noscript = re.search(r"<noscript>(.*?)</noscript>", WEB.joinpath(name).read_text(encoding="utf-8"))
    assert noscript is not None and "JavaScript が必要です" in noscript[1] and "needs JavaScript" in noscript[1]


@pytest.mark.parametrize("name", PAGES.values())
def test_page_has_a_bar_for_the_shell_and_no_shell_of_its_own(name: str) -> None:
    text = WEB.joinpath(name).read_text(encoding="utf-8")
    assert re.search(r'<header class="topbar">\s*<h1', text) and "<main" in text
    assert re.search(r'data-lang|id="(sign-in|fault|said|lost|drill-mark)"', text) is None
