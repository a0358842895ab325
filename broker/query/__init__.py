# SPDX-License-Identifier: Apache-2.0
"""The query languages of NGSI-LD: text to trees (clauses 4.9, 4.10, 4.17, 4.19) and trees against entities."""

from broker.query.geo import parse_geo
from broker.query.geometry import indexed_geometry
from broker.query.identity import parse_id_pattern, parse_ids
from broker.query.match import compile_query, matches
from broker.query.ordering import Ordering, parse_ordering
from broker.query.q import parse_q
from broker.query.scopes import parse_scopes
from broker.query.tokens import Limits
from broker.query.tree import (
    EntityQuery,
    EntitySelector,
    Expand,
    GeoQuery,
    QueryTree,
    ScopeTree,
    TypeTree,
    attribute_names,
    linked_depth,
)
from broker.query.types import parse_types

__all__ = [
    "EntityQuery",
    "EntitySelector",
    "Expand",
    "GeoQuery",
    "Limits",
    "Ordering",
    "QueryTree",
    "ScopeTree",
    "TypeTree",
    "attribute_names",
    "compile_query",
    "indexed_geometry",
    "linked_depth",
    "matches",
    "parse_geo",
    "parse_id_pattern",
    "parse_ids",
    "parse_ordering",
    "parse_q",
    "parse_scopes",
    "parse_types",
]
