# SPDX-License-Identifier: Apache-2.0
"""Type selection (clause 4.17), scope queries (clause 4.19), ids and id patterns."""

from __future__ import annotations

import pytest

from broker.errors import BadRequestData
from broker.query import parse_id_pattern, parse_ids, parse_scopes, parse_types
from broker.query.tree import And, Or, ScopePattern, TypeName


def expand(name: str) -> str:
    return name if name.startswith("https:") else "ex:" + name


A, B, C = TypeName("ex:A"), TypeName("ex:B"), TypeName("ex:C")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("A", A),
        ("A,B", Or((A, B))),
        ("A|B", Or((A, B))),
        ("(A;B)", And((A, B))),
        ("(A;B),C", Or((And((A, B)), C))),
        ("A,B;C", Or((A, And((B, C))))),
        ("https://example.org/ns#A|B", Or((TypeName("https://example.org/ns#A"), B))),
        ("*", None),
    ],
)
def test_types(text: str, tree: object) -> None:
    assert parse_types(text, expand) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("/Madrid", ScopePattern(("Madrid",))),
        ("CompanyB", ScopePattern(("CompanyB",))),
        ("/Madrid/Gardens/#", ScopePattern(("Madrid", "Gardens"), subtree=True)),
        ("/Madrid/+/ParqueNorte", ScopePattern(("Madrid", "+", "ParqueNorte"))),
        ("/#", ScopePattern((), subtree=True)),
        ("(/A;/B)|C", Or((And((ScopePattern(("A",)), ScopePattern(("B",)))), ScopePattern(("C",))))),
        ("/A;/B", And((ScopePattern(("A",)), ScopePattern(("B",))))),
        ("/日本/静岡", ScopePattern(("日本", "静岡"))),
    ],
)
def test_scopes(text: str, tree: object) -> None:
    assert parse_scopes(text) == tree


def test_a_malformed_selection_says_where() -> None:
    with pytest.raises(BadRequestData) as raised:
        parse_types("(A;B", expand)
    assert raised.value.detail == "type is not valid: ')' is missing\n    (A;B\n        ^"


def test_a_malformed_scope_says_where() -> None:
    with pytest.raises(BadRequestData) as raised:
        parse_scopes("/#/A")
    assert raised.value.detail == "scopeQ is not valid: ';', '|', ',' or the end is expected here\n    /#/A\n      ^"


def test_ids_are_uris() -> None:
    assert parse_ids("urn:x:1,https://example.org/2") == ("urn:x:1", "https://example.org/2")


def test_an_id_that_is_no_uri_is_refused() -> None:
    with pytest.raises(BadRequestData, match="id is not valid: 'thisisaninvaliduri1' is not a URI"):
        parse_ids("urn:x:1,thisisaninvaliduri1")


def test_a_malformed_id_pattern_says_where() -> None:
    with pytest.raises(BadRequestData) as raised:
        parse_id_pattern("urn**")
    assert raised.value.detail == "idPattern is not valid: '*' has nothing to repeat\n    urn**\n        ^"
