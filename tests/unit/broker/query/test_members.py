# SPDX-License-Identifier: Apache-2.0
"""The attribute projection language of clause 4.21."""

from __future__ import annotations

import pytest

from broker.errors import BadRequestData
from broker.query.members import Member, members_depth, parse_members


def test_comma_and_pipe_are_the_same() -> None:
    assert parse_members("a,b|c", "pick") == (Member("a"), Member("b"), Member("c"))


def test_braces_choose_of_linked_entities() -> None:
    tree = parse_members("id,a{b,c{d}},e", "pick")
    assert tree == (Member("id"), Member("a", (Member("b"), Member("c", (Member("d"),)))), Member("e"))
    assert members_depth(tree) == 2


@pytest.mark.parametrize("text", ["", ",", "a,", "a,,b", "a{", "a{}", "a{b", "a}", "a{b}c", "{b}", "a{b}}", "a{b}{c}"])
def test_what_is_malformed_is_bad_data(text: str) -> None:
    with pytest.raises(BadRequestData):
        parse_members(text, "pick")


def test_deep_nesting_is_refused_and_does_not_exhaust_the_stack() -> None:
    with pytest.raises(BadRequestData):
        parse_members("a{" * 5000 + "b" + "}" * 5000, "pick")
