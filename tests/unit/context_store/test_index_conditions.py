# SPDX-License-Identifier: Apache-2.0
"""What indexes can serve follows from the query and takes nothing away."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from broker.query import EntityQuery, parse_id_pattern, parse_scopes
from context_store.compiled import to_psycopg
from context_store.queries.index_conditions import index_conditions
from context_store.queries.statements import ENTITY

LAST = chr(0x10FFFF)


def values(query: EntityQuery) -> list[Any]:
    """What the conditions compare with, in their order."""
    conditions = index_conditions(query, ENTITY)
    return list(to_psycopg(sa.select(ENTITY.c.id).where(*conditions))[1].values()) if conditions else []


@pytest.mark.parametrize(
    ("pattern", "limits"),
    [
        ("^urn:x:[0-9]", ["urn:x:", "urn:x;"]),
        ("^urn", ["urn", "uro"]),
        ("urn:x", []),
        ("^urn:a|^urn:b", []),
        ("^a" + LAST, ["a" + LAST, "b"]),
        ("^" + LAST, [LAST]),
        ("^a\ud7ff".encode("utf-8", "surrogatepass").decode(), ["a\ud7ff", "a\ue000"]),
    ],
)
def test_a_fixed_beginning_is_a_range(pattern: str, limits: list[str]) -> None:
    assert values(EntityQuery(id_pattern=parse_id_pattern(pattern))) == limits


@pytest.mark.parametrize(
    ("scope", "terms"),
    [
        ("/Japan/Shizuoka", ["/Japan/Shizuoka"]),
        ("Japan/Shizuoka", ["/Japan/Shizuoka"]),
        ("/Japan/#", ["/Japan/#"]),
        ("/Japan/+/Aoi", ["/Japan/#"]),
        ("/Japan|/Korea/#", ["/Japan", "/Korea/#"]),
        ("(/+/Aoi;/Japan)", ["/Japan"]),
        ("/+/Aoi", None),
        ("/#", None),
        ("/Japan|/+", None),
    ],
)
def test_scopes_are_asked_for_by_terms(scope: str, terms: list[str] | None) -> None:
    assert values(EntityQuery(scope=parse_scopes(scope))) == ([] if terms is None else [terms])
