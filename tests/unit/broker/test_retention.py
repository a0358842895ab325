# SPDX-License-Identifier: Apache-2.0
"""How long the history of an entity is kept."""

from __future__ import annotations

import pytest

from broker.errors import BadRequestData
from broker.history.retention import ALL_TYPES, Kept, kept_for

RULES = {"River": Kept(400, 3650), "Rain": Kept(30), ALL_TYPES: Kept(100)}


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["River"], Kept(400, 3650)),
        (["Rain"], Kept(30)),
        (["Rain", "River"], Kept(400)),
        (["Shelter"], Kept(100)),
        (["Rain", "Shelter"], Kept(100)),
        ([], Kept(100)),
    ],
)
def test_an_entity_of_several_types_keeps_what_the_longest_says(types: list[str], expected: Kept) -> None:
    assert kept_for(types, RULES, Kept(5)) == expected


def test_without_rules_the_default_holds() -> None:
    assert kept_for(["River"], {}, Kept(5)) == Kept(5)


@pytest.mark.parametrize("days", [(1,), (400, 30), (None, 30), (10, 20, 15), (10, 20, 30, 29)])
def test_no_tier_is_shorter_than_a_finer_one(days: tuple[int, ...]) -> None:
    with pytest.raises(BadRequestData):
        Kept(*days)
