# SPDX-License-Identifier: Apache-2.0
"""``minamo dead-letters``: one, those of a subscription, or all have to be meant."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from api.cli import main


@pytest.mark.parametrize(
    "words", [["replay"], ["replay", "1", "--all"], ["drop"], ["drop", "1", "--subscription", "a"]]
)
def test_exactly_one_choice_has_to_be_made(words: list[str]) -> None:
    done = CliRunner().invoke(main, ["dead-letters", *words], env={"MINAMO_LANGUAGE": "en"})
    assert done.exit_code == 2 and "--subscription" in done.stderr
