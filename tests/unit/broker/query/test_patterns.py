# SPDX-License-Identifier: Apache-2.0
"""The dialect of regular expressions and its automaton."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.errors import TooComplexQuery
from broker.query.patterns import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        ("c$", "abc", True),
        ("^$", "", True),
        ("^$", "a", False),
        ("", "a", True),
        ("水.*位", "川の水の\n位置", True),
        ("a{2,3}b", "aab", True),
        ("^a{2,3}b", "aaaab", False),
        ("^(ab){2}$", "abab", True),
        ("^(ab){2,}$", "ab", False),
        ("^(a|)b$", "b", True),
        ("[^0-9]", "123", False),
        ("[]x]", "]", True),
        ("[a-]", "-", True),
        (r"[\d.]", ".", True),
        ("[[:upper:]]", "abC", True),
        (r"^\w+\s\S+$", "ab_1 水", True),
        (r"\w", "水", False),
        (r"\.", "a", False),
        (".*?downtown$", "urn:x:downtown", True),
        # Repeated anchors: what PostgreSQL 15 says of each.
        ("^^", "", True),
        ("^^a", "a", True),
        ("a$$", "a", True),
        ("$^", "", True),
        ("$^", "a", False),
        ("^$^$", "", True),
        ("(^|a)^", "a", True),
        ("(^|b)^a", "a", True),
        ("a($|b)$", "a", True),
        ("(^)(^)a", "a", True),
        ("a^", "a", False),
        ("a$^", "", False),
        ("x*^a", "xa", False),
    ],
)
def test_search(pattern: str, text: str, found: bool) -> None:
    assert compile_pattern(pattern).search(text) is found


@pytest.mark.parametrize(
    ("pattern", "problem", "position"),
    [
        ("pattern**", "'*' has nothing to repeat", 8),
        ("*", "'*' has nothing to repeat", 0),
        ("^*", "an anchor cannot be repeated", 1),
        ("(a", "'(' is not closed", 0),
        ("a)", "')' has no '(' before it", 1),
        ("[a", "'[' is not closed", 0),
        ("[b-a]", "the range ends before it starts", 1),
        ("[[:any:]]", "the character class is not known", 1),
        ("[[.a.]]", "collating elements are not part of the dialect", 1),
        (r"a\1", r"'\1' is not part of the dialect", 1),
        ("(?=a)", "'(?' is not part of the dialect", 1),
        ("a{x}", "'{' is not followed by counts, as in '{2,5}'", 1),
        ("a{3,2}", "the highest count is below the lowest", 1),
        ("a{256}", "'{' is not followed by counts, as in '{2,5}'", 1),
        ("\\", "a character is expected after '\\'", 1),
    ],
)
def test_a_malformed_pattern_says_where(pattern: str, problem: str, position: int) -> None:
    with pytest.raises(PatternError) as raised:
        compile_pattern(pattern)
    assert (raised.value.problem, raised.value.position) == (problem, position)


@pytest.mark.parametrize("pattern", ["a" * 513, "(a{255}){255}", "((){255}){255}", "(" * 40 + ")" * 40])
def test_a_pattern_that_is_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(TooComplexQuery):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "a*a*a*a*a*a*b", "(.*,){20}x"])
def test_time_is_linear_in_the_text(pattern: str) -> None:
    search = compile_pattern(pattern).search
    started = time.perf_counter()
    assert not search("a" * 20_000 + "!")
    assert time.perf_counter() - started < 1


SAFE = ["a", "b", ".", "^", "$", "|", "(", ")", "*", "+", "?", "{2}", "{1,}", "[ab]", "[^a]"]


@example("^^", [""])
@given(st.lists(st.sampled_from(SAFE), max_size=6).map("".join), st.lists(st.text("abc\n", max_size=6), max_size=6))
def test_python_finds_the_same_where_it_reads_the_same(pattern: str, texts: list[str]) -> None:
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        return
    python = re.compile(pattern.replace("$", r"\Z"), re.DOTALL)
    assert [compiled.search(text) for text in texts] == [python.search(text) is not None for text in texts]


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("^urn:x:[0-9]+", "urn:x:"),
        ("(^ab)", "ab"),
        ("^ab*", "a"),
        ("^ab?c", "a"),
        ("^\\.x", ".x"),
        ("^[a]b", "ab"),
        ("^[ab]c", ""),
        ("abc", ""),
        ("^a|b", ""),
        ("^", ""),
        ("^$", ""),
    ],
)
def test_the_beginning_that_all_matches_share(pattern: str, prefix: str) -> None:
    assert compile_pattern(pattern).prefix == prefix
