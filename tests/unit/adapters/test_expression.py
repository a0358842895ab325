# SPDX-License-Identifier: Apache-2.0
"""Payload expressions."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats.expression import ExpressionError, Uplink, Value, compiled, evaluate

UPLINK = Uplink(bytes.fromhex("01ff7f80fffe3fc00000"), 7)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("u8(0)", 1),
        ("i8(1)", -1),
        ("u16be(0)", 0x01FF),
        ("u16le(0)", 0xFF01),
        ("i16be(4)", -2),
        ("u24be(0)", 0x01FF7F),
        ("u24le(0)", 0x7FFF01),
        ("i32be(0)", 0x01FF7F80),
        ("f32be(6)", 1.5),
        ("u8(-1)", 0),
        ("bit(0, 0)", True),
        ("u16be(0) * 0.001 - 0.3", 0.211),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("--2", 2),
        ("2 - -2", 4),
        ("7 % 4 / 2", 1.5),
        ("0x10 | 1 << 1", 0x22),  # bits share one level, from left to right
        ("u8(2) >> 4 & 7", 7),
        ("port == 7", True),
        ("len", 10),
        ("if(u16be(4) == 0xfffe, null, 1)", None),
        ("if(port > 5, 1, u8(99))", 1),
        ("null + 1", None),
        ("max(1, 2, 3) + min(4, 5) + abs(-6)", 13),
        ("round(1.2345, 2)", 1.23),
    ],
)
def test_value_of_an_expression(text: str, value: Value) -> None:
    assert evaluate(text, UPLINK) == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a number, a name or ( is expected here"),
        ("1 +", "a number, a name or ( is expected here\n1 +\n   ^"),
        ("(1", ") is expected here"),
        ("1 2", "2 is not expected here"),
        ("u8", "u8 is not known"),
        ("open(1)", "open is not known"),
        ("u8()", "u8 takes 1 arguments"),
        ("__import__(1)", "__import__ is not known"),
        ("u8(0).real", "this is not understood"),
        ("'a'", "this is not understood"),
        ("(" * 41 + "1" + ")" * 41, "nested too deeply"),
        ("1" + " " * 500, "at most 500"),
        ("if(1, 2)", "if takes 3 arguments"),
    ],
)
def test_what_is_no_expression_is_said_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compiled(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("u16be(9)", "2 bytes at 9 are past the end; the payload has 10"),
        ("u8(-11)", "past the end"),
        ("u8(0.5)", "0.5 is no place of a byte"),
        ("1 / 0", "division by zero"),
        ("1 << 99", "a shift by 99 is not possible"),
        ("1.5 & 1", "unsupported operand"),
        ("bit(0, 8)", "8 is no bit of a byte"),
    ],
)
def test_what_the_bytes_do_not_give_is_said(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, UPLINK)
    assert says in str(caught.value)


WORDS = ["u8", "i16le", "f32be", "bit", "if", "round", "abs", "min", "null", "port", "len", "true", "(", ")", ","]
SIGNS = ["+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^", "==", "<", "0", "1", "2", "99999999999999999", "0.5"]


@given(st.lists(st.sampled_from(WORDS + SIGNS), max_size=25), st.binary(max_size=6))
def test_nothing_but_a_value_or_the_error_comes_out(words: list[str], payload: bytes) -> None:
    with suppress(ExpressionError):
        evaluate(" ".join(words), Uplink(payload, None))


@given(st.text(max_size=30))
def test_any_text_is_an_expression_or_the_error(text: str) -> None:
    with suppress(ExpressionError):
        evaluate(text, UPLINK)
