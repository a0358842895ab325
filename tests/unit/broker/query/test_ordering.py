# SPDX-License-Identifier: Apache-2.0
"""The entity ordering language of clause 4.23."""

from __future__ import annotations

import pytest

from broker.errors import BadRequestData, TooComplexQuery
from broker.query.ordering import Ordering, OrderTerm, parse_collation, parse_ordering
from broker.query.tree import AttributePath


def expand(name: str) -> str:
    return f"ex:{name}"


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("name", [OrderTerm(AttributePath(("ex:name",)))]),
        (
            "name,age;desc",
            [OrderTerm(AttributePath(("ex:name",))), OrderTerm(AttributePath(("ex:age",)), descending=True)],
        ),
        ("address[city]", [OrderTerm(AttributePath(("ex:address",), None, ("city",)))]),
        ("name.observedAt;asc", [OrderTerm(AttributePath(("ex:name",), "observedAt"))]),
        ("a.b", [OrderTerm(AttributePath(("ex:a", "ex:b")))]),
        (
            "id;desc,type,scope",
            [
                OrderTerm(AttributePath((), "id"), descending=True),
                OrderTerm(AttributePath((), "type")),
                OrderTerm(AttributePath((), "scope")),
            ],
        ),
        ("createdAt", [OrderTerm(AttributePath((), "createdAt"))]),
        ("identity", [OrderTerm(AttributePath(("ex:identity",)))]),
    ],
)
def test_keys(text: str, terms: list[OrderTerm]) -> None:
    assert parse_ordering(text, expand) == Ordering(tuple(terms))


def test_distance_is_measured_from_the_coordinates() -> None:
    ordering = parse_ordering(["here;dist-desc"], expand, coordinates="[8,40]")
    assert ordering.terms == (OrderTerm(AttributePath(("ex:here",)), descending=True, by_distance=True),)
    assert ordering.reference == '{"type": "Point", "coordinates": [8.0, 40.0]}'


@pytest.mark.parametrize(
    "text", ["name;up", "name;", "name,", ",name", "a{b}", "name;ascending", "name asc", "name;asc;desc"]
)
def test_what_is_malformed_is_bad_data(text: str) -> None:
    with pytest.raises(BadRequestData):
        parse_ordering(text, expand)


def test_a_distance_needs_coordinates_that_fit_the_geometry() -> None:
    with pytest.raises(BadRequestData):
        parse_ordering("here;dist-asc", expand)
    with pytest.raises(BadRequestData):
        parse_ordering("here;dist-asc", expand, coordinates="[8]")
    with pytest.raises(BadRequestData):
        parse_ordering("here;dist-asc", expand, coordinates=[8, 40], geometry="LineString")


def test_too_many_keys_are_too_complex() -> None:
    with pytest.raises(TooComplexQuery):
        parse_ordering(",".join(["name"] * 1000), expand)


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ("und", "und"),
        ("und-x-icu", "und"),
        ("de-u-co-phonebk", "de-u-co-phonebk"),
        ("und-u-ks-identic", "und-u-ks-identic"),
        ("ja-JP-u-co-unihan-kn-true", "ja-jp-u-co-unihan-kn-true"),
        ("zh-Hant-TW", "zh-hant-tw"),
        ("de-u-kn", "de-u-kn"),
    ],
)
def test_collations(given: str, tag: str) -> None:
    assert parse_collation(given) == tag


@pytest.mark.parametrize(
    "given",
    [
        "!!nope",
        "not a bcp47 tag!!",
        "de_DE",
        "de-u",
        "de-u-zz-abc",
        "de-u-ks-level9",
        "d",
        "de-" + "abcde-" * 20,
        "de-u-kn-true-kn-true",
        'de"; drop table entity',
    ],
)
def test_what_is_no_tag_is_bad_data(given: str) -> None:
    with pytest.raises(BadRequestData):
        parse_collation(given)
