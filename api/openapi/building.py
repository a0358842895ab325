# SPDX-License-Identifier: Apache-2.0
"""Words to write JSON Schemas (2020-12, as in OpenAPI 3.1) with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
ANY: Final[Schema] = {}
BOOLEAN: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
TIME: Final[Schema] = {"type": "string", "format": "date-time", "pattern": "Z$", "examples": ["2026-11-21T07:00:00Z"]}
NUMBER_OR_NULL: Final[Schema] = {"type": ["number", "null"]}
TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
TIME_OR_NULL: Final[Schema] = {"anyOf": [TIME, {"type": "null"}]}


def ref(name: str) -> Schema:
    """The component ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


URI: Final = ref("Uri")
NAME: Final = ref("Name")
CONTEXT: Final = ref("Context")
PARTS: Final[dict[str, Schema]] = {
    "Uri": {
        "type": "string",
        "pattern": r'^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"{}|\\^`]+$',
        "description": "An absolute URI; IRIs with other letters than ASCII are understood too",
        "examples": ["urn:ngsi-ld:WaterObserved:demo-9"],
    },
    "Name": {
        "type": "string",
        "pattern": r'^[^\s@<>"{}|\\^`]+$',
        "description": "The name of a type or an attribute: a term of the @context, or an IRI (4.6.2)",
        "examples": ["waterLevel"],
    },
    "Context": {
        "description": "A JSON-LD @context: its address, definitions, or a list of both",
        "anyOf": [{"type": "string", "format": "uri"}, {"type": "object"}, {"type": "array"}],
        "examples": ["urn:ngsi-ld:jsonldContext:minamo-v1"],
    },
}
"""Schemas that all others are made of."""


def one_of(*names: str) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": list(names)}


def array(items: Schema, least: int = 0) -> Schema:
    """An array of ``items``, at least so many."""
    return {"type": "array", "items": items} | ({"minItems": least} if least else {})


def text_or_array(items: Schema) -> Schema:
    """One of ``items`` alone, or an array of them."""
    return {"anyOf": [items, array(items, 1)]}


def members(
    properties: dict[str, Schema],
    required: Iterable[str] = (),
    *,
    others: Schema | bool = False,
    description: str | None = None,
) -> Schema:
    """An object; ``others`` is the schema of members that are not named, or whether there may be any."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": others}
    if needed := list(required):
        schema["required"] = needed
    return schema | ({"description": description} if description else {})


def named_members(
    properties: dict[str, Schema], required: Iterable[str] = (), *, others: Schema, description: str | None = None
) -> Schema:
    """The same, of which other members are named by clients."""
    return members(properties, required, others=others, description=description) | {"propertyNames": NAME}


def without(schema: Schema, *names: str) -> Schema:
    """The same object with these members optional."""
    needed = [name for name in schema.get("required", ()) if name not in names]
    rest = {key: value for key, value in schema.items() if key != "required"}
    return rest | ({"required": needed} if needed else {})


def with_context(schema: Schema) -> Schema:
    """The same with an ``@context``, as application/ld+json wants it (6.3.5): an object, or each of an array."""
    if schema.get("type") == "array":
        return schema | {"items": with_context(schema["items"])}
    if "properties" not in schema:
        return {"allOf": [schema, {"type": "object", "properties": {"@context": CONTEXT}, "required": ["@context"]}]}
    written = schema | {
        "properties": schema["properties"] | {"@context": CONTEXT},
        "required": [*schema.get("required", ()), "@context"],
    }
    if "propertyNames" in written:
        written["propertyNames"] = {"anyOf": [NAME, {"const": "@context"}]}
    return written
