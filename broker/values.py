# SPDX-License-Identifier: Apache-2.0
"""Reading the value member of each attribute kind (clauses 4.5.2, 4.5.3, 4.5.18 to 4.5.24, 4.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.entities import AttributeKind
from broker.validation import (
    canonical_time,
    check_geometry,
    check_language_map,
    check_uri,
    contains_null,
    fault,
    shown,
)
from schemas.terms import NO_DATASET, NULL


class ValueReader:
    """Checks values and gives them the stored form; says where an NGSI-LD Null may stand.

    ``nulls``: as an attribute or its value. ``partial``: also as a member, in values and in language maps.
    """

    __slots__ = ("nulls", "partial", "terms")

    def __init__(self, terms: TermMap, nulls: bool, partial: bool) -> None:
        self.terms = terms
        self.nulls = nulls or partial
        self.partial = partial

    def check_null(self, path: str) -> None:
        if not self.nulls:
            raise fault(path, f"{NULL} is not allowed here")

    def time(self, value: Any, path: str) -> str:
        return NULL if value == NULL and self.partial else canonical_time(value, path)

    def vocabulary(self, value: Any, path: str) -> str | list[str]:
        if isinstance(value, str) and value != NULL:
            return self.terms.expand_value_iri(value)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise fault(path, f"{shown(value)} is not a text or a list of texts")
        return [self.terms.expand_value_iri(item) for item in value]

    # One reader for the value member of each kind.

    def value(self, value: Any, path: str) -> Any:
        """Any JSON value but null (clause 4.5.2.2)."""
        if value is None:
            raise fault(path, "null is not a value in NGSI-LD")
        if value == NULL:
            self.check_null(path)
        elif value.__class__ in (dict, list) and not self.partial and contains_null(value):
            raise fault(path, f"{NULL} is not allowed in a value")
        return value

    def geometry(self, value: Any, path: str) -> Any:
        if value == NULL:
            self.check_null(path)
            return NULL
        return check_geometry(value, path)

    def object(self, value: Any, path: str) -> Any:
        """One URI or a list of URIs (clause 4.5.3.2)."""
        if value == NULL:
            self.check_null(path)
            return NULL
        if not isinstance(value, list):
            return check_uri(value, path)
        if not value or NULL in value:
            raise fault(path, f"{shown(value)} is not a URI or a list of URIs")
        return [check_uri(item, f"{path}[{index}]") for index, item in enumerate(value)]

    def language_map(self, value: Any, path: str) -> Any:
        null = value == NULL or value == {NO_DATASET: NULL}
        if null or (isinstance(value, dict) and NULL in value.values() and not self.partial):
            self.check_null(path)
        if not null and not self.partial and contains_null(value):
            raise fault(path, f"{NULL} is not allowed in a language map")
        return {NO_DATASET: NULL} if null else check_language_map(value, path)

    def vocab(self, value: Any, path: str) -> Any:
        if value == NULL:
            self.check_null(path)
            return NULL
        return self.vocabulary(value, path)

    def json(self, value: Any, path: str) -> Any:
        """A raw JSON object or a list (clause 4.5.24.2); it is never expanded."""
        if value == NULL:
            self.check_null(path)
            return NULL
        if not isinstance(value, dict | list):
            raise fault(path, f"{shown(value)} is not a JSON object or array")
        return value

    def value_list(self, value: Any, path: str) -> Any:
        if value == NULL or value == [NULL]:
            self.check_null(path)
            return [NULL]
        if not isinstance(value, list):
            raise fault(path, f"{shown(value)} is not a list")
        return [self.value(item, f"{path}[{index}]") for index, item in enumerate(value)]

    def object_list(self, value: Any, path: str) -> Any:
        """URIs, each alone or as ``{"object": URI}`` (clauses 4.5.22.2, 4.5.22.3); kept as a list of URIs."""
        if value == NULL or value == [NULL]:
            self.check_null(path)
            return [NULL]
        if not isinstance(value, list):
            raise fault(path, f"{shown(value)} is not a list")
        uris = [item["object"] if isinstance(item, dict) and set(item) == {"object"} else item for item in value]
        return [check_uri(uri, f"{path}[{index}]") for index, uri in enumerate(uris)]


READERS: Final[dict[str, Callable[[ValueReader, Any, str], Any]]] = {
    AttributeKind.PROPERTY: ValueReader.value,
    AttributeKind.RELATIONSHIP: ValueReader.object,
    AttributeKind.GEO_PROPERTY: ValueReader.geometry,
    AttributeKind.LANGUAGE_PROPERTY: ValueReader.language_map,
    AttributeKind.VOCAB_PROPERTY: ValueReader.vocab,
    AttributeKind.JSON_PROPERTY: ValueReader.json,
    AttributeKind.LIST_PROPERTY: ValueReader.value_list,
    AttributeKind.LIST_RELATIONSHIP: ValueReader.object_list,
}
