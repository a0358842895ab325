# SPDX-License-Identifier: Apache-2.0
"""``q``, text to tree (clause 4.9)."""

from __future__ import annotations

import pytest

from broker.errors import BadRequestData, TooComplexQuery
from broker.query import Limits, attribute_names, linked_depth, parse_q
from broker.query.tree import (
    And,
    AttributePath,
    LinkedPath,
    Operator,
    Or,
    Pattern,
    Range,
    Term,
    Value,
    ValueKind,
    ValueList,
)


def expand(name: str) -> str:
    return "ex:" + name


def term(text: str, **options: list[str]) -> Term:
    tree = parse_q(text, expand, **options)
    assert isinstance(tree, Term)
    return tree


class TestValues:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("42", Value(ValueKind.NUMBER, 42)),
            ("-0.5e1", Value(ValueKind.NUMBER, -5.0)),
            ('"42"', Value(ValueKind.TEXT, "42")),
            ('"a;b|c)"', Value(ValueKind.TEXT, "a;b|c)")),
            (r'"\u6c34\"\\"', Value(ValueKind.TEXT, '水"\\')),
            ("true", Value(ValueKind.BOOLEAN, True)),
            ("Male", Value(ValueKind.TEXT, "Male")),
            ("urn:ngsi-ld:River:1", Value(ValueKind.URI, "urn:ngsi-ld:River:1")),
            ("2017-12-24", Value(ValueKind.DATE, "2017-12-24")),
            ("12:00:00.50Z", Value(ValueKind.TIME, "12:00:00.5")),
            ("2017-12-24T12:00:00Z", Value(ValueKind.DATE_TIME, "2017-12-24T12:00:00")),
            ("2017-12-24T12:00:00,250Z", Value(ValueKind.DATE_TIME, "2017-12-24T12:00:00.25")),
            ("2017-12-24T12:00:00+09:00", Value(ValueKind.DATE_TIME, "2017-12-24T03:00:00")),
        ],
    )
    def test_a_value_has_the_type_it_is_written_in(self, text: str, value: Value) -> None:
        assert term(f"a=={text}").operand == value

    def test_a_list_keeps_the_order_of_its_values(self) -> None:
        assert term('a!="x",3').operand == ValueList((Value(ValueKind.TEXT, "x"), Value(ValueKind.NUMBER, 3)))

    def test_a_range_has_two_ends(self) -> None:
        assert term("a==1..2.5").operand == Range(Value(ValueKind.NUMBER, 1), Value(ValueKind.NUMBER, 2.5))

    def test_a_quoted_time_is_a_time_for_a_time_member(self) -> None:
        assert term('a.observedAt>"2020-01-01T00:00:00Z"').operand == Value(ValueKind.DATE_TIME, "2020-01-01T00:00:00")

    def test_a_quoted_time_stays_a_string_for_a_value(self) -> None:
        assert term('a>"2020-01-01T00:00:00Z"').operand == Value(ValueKind.TEXT, "2020-01-01T00:00:00Z")

    def test_values_of_named_attributes_are_expanded(self) -> None:
        assert term("gender==Male", expand_values=["gender"]).operand == Value(ValueKind.URI, "ex:Male")

    def test_values_of_other_attributes_are_not_expanded(self) -> None:
        assert term("gender==Male", expand_values=["sex"]).operand == Value(ValueKind.TEXT, "Male")

    @pytest.mark.parametrize(
        ("text", "pattern"),
        [
            (r'a~="^x\.[0-9]"', r"^x\.[0-9]"),
            (r'a~="say \"x\""', 'say "x"'),
            ("a~=^Tower (a|b)[;|)]$", "^Tower (a|b)[;|)]$"),
        ],
    )
    def test_a_pattern_is_taken_as_it_is(self, text: str, pattern: str) -> None:
        assert term(text).operand == Pattern(pattern)


class TestPaths:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("a", AttributePath(("ex:a",))),
            ("水位", AttributePath(("ex:水位",))),
            ("fiware:level", AttributePath(("ex:fiware:level",))),
            ("a.b.c", AttributePath(("ex:a", "ex:b", "ex:c"))),
            ("a.b[c.d]", AttributePath(("ex:a", "ex:b"), trailing=("c", "d"))),
            ("a[en-GB]", AttributePath(("ex:a",), trailing=("en-GB",))),
            ("a[*]", AttributePath(("ex:a",), trailing=("*",))),
            ("a.b.observedAt", AttributePath(("ex:a", "ex:b"), "observedAt")),
            ("a.unitCode", AttributePath(("ex:a",), "unitCode")),
            ("modifiedAt", AttributePath((), "modifiedAt")),
            ("a{b}", LinkedPath("ex:a", (), AttributePath(("ex:b",)))),
            ("a{T,U:b.c}", LinkedPath("ex:a", ("ex:T", "ex:U"), AttributePath(("ex:b", "ex:c")))),
            ("a{b{T:c}}", LinkedPath("ex:a", (), LinkedPath("ex:b", ("ex:T",), AttributePath(("ex:c",))))),
        ],
    )
    def test_a_path_names_its_target(self, text: str, path: AttributePath | LinkedPath) -> None:
        assert term(text) == Term(path, Operator.EXISTS)

    def test_an_exclamation_mark_asks_for_absence(self) -> None:
        assert term("!a") == Term(AttributePath(("ex:a",)), Operator.ABSENT)

    def test_attribute_names_are_the_top_level_ones(self) -> None:
        assert attribute_names(parse_q("a.b>1;c{d}|modifiedAt", expand)) == {"ex:a", "ex:c"}

    def test_linked_depth_counts_relationships(self) -> None:
        assert linked_depth(parse_q("a|a{b{c}}", expand)) == 2


def has(name: str) -> Term:
    return Term(AttributePath(("ex:" + name,)), Operator.EXISTS)


class TestLogic:
    @pytest.mark.parametrize(
        ("text", "tree"),
        [
            ("a;b|c", Or((And((has("a"), has("b"))), has("c")))),
            ("a|b;c", Or((has("a"), And((has("b"), has("c")))))),
            ("(a|b);c", And((Or((has("a"), has("b"))), has("c")))),
            ("((a|b);c)", And((Or((has("a"), has("b"))), has("c")))),
        ],
    )
    def test_and_binds_tighter_than_or(self, text: str, tree: object) -> None:
        assert parse_q(text, expand) == tree


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "problem", "column"),
        [
            ("", "an attribute name is expected here", 0),
            ("speed>>20", "VALUE", 6),
            ("a==", "VALUE", 3),
            ("a==1,", "VALUE", 5),
            ("a==4x", "VALUE", 3),
            ("a>4..5", "a range or a list can only follow '==' or '!='", 3),
            ("a>true", "a Boolean is neither greater nor less than another", 2),
            ("a>urn:x", "a URI is neither greater nor less than another", 2),
            ("a==1..x", "a range goes from a number, string, date or time to another of its kind", 3),
            ("a=1", "';', '|' or the end is expected here", 1),
            ("a b", "';', '|' or the end is expected here", 1),
            ("a;;b", "an attribute name is expected here", 2),
            ("(a", "')' is missing", 2),
            ("a{b", "'}' is missing", 3),
            ("a.", "an attribute name is expected here", 2),
            ("a[0]", "the name of a JSON member or a language is expected here", 2),
            ("a[b", "']' is missing", 3),
            ("a.observedAt[b]", "observedAt has no members to look into", 0),
            ('a=="x', "the closing quotation mark is missing", 3),
            (r'a=="\x"', "the string is not a JSON string", 4),
            ("a==2020-13-01", "the date does not exist", 3),
            ("a==2020-02-30T00:00:00Z", "the date and time do not exist", 3),
            ("a==1e400", "the number is too large", 3),
            ('a~="(x"', "'(' is not closed", 4),
            ("a~=", "a pattern is expected here", 3),
            ("a~=x**", "'*' has nothing to repeat", 5),
        ],
    )
    def test_the_detail_points_at_the_spot(self, text: str, problem: str, column: int) -> None:
        value = "a number, a string in quotation marks, a date, a time, a Boolean or a URI is expected here"
        with pytest.raises(BadRequestData) as raised:
            parse_q(text, expand)
        message = problem.replace("VALUE", value)
        assert raised.value.detail == f"q is not valid: {message}\n    {text}\n    {' ' * column}^"

    def test_the_caret_stands_under_full_width_characters(self) -> None:
        with pytest.raises(BadRequestData) as raised:
            parse_q("水位==", expand)
        assert raised.value.detail.endswith("\n    水位==\n          ^")

    def test_what_cannot_be_stored_cannot_be_asked(self) -> None:
        with pytest.raises(BadRequestData) as raised:
            parse_q(r'a=="\u0000"', expand)
        assert raised.value.detail == "q contains the character U+0000, which no value can contain\n     \n    ^"


class TestLimits:
    def test_length(self) -> None:
        with pytest.raises(TooComplexQuery, match="q is 11 characters long; the limit is 10 characters"):
            parse_q("a" * 11, expand, limits=Limits(length=10))

    def test_depth(self) -> None:
        with pytest.raises(TooComplexQuery, match="q is nested more than 2 levels deep"):
            parse_q("(((a)))", expand, limits=Limits(depth=2))

    def test_depth_of_linked_paths(self) -> None:
        with pytest.raises(TooComplexQuery, match="q is nested more than 2 levels deep"):
            parse_q("a{b{c{d}}}", expand, limits=Limits(depth=2))

    def test_terms(self) -> None:
        with pytest.raises(TooComplexQuery, match="q has more than 2 terms"):
            parse_q("a;b;c", expand, limits=Limits(terms=2))

    def test_values_of_a_list_count_as_terms(self) -> None:
        with pytest.raises(TooComplexQuery, match="q has more than 2 terms"):
            parse_q("a==1,2,3", expand, limits=Limits(terms=2))
