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
URI: Final[Schema] = {"type": "string", "format": "uri", "examples": ["urn:ngsi-ld:WaterObserved:demo-9"]}
TIME: Final[Schema] = {"type": "string", "format": "date-time", "pattern": "Z$", "examples": ["2026-11-21T07:00:00Z"]}


def ref(name: str) -> Schema:
    """The component ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


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


def without(schema: Schema, *names: str) -> Schema:
    """The same object with these members optional."""
    needed = [name for name in schema.get("required", ()) if name not in names]
    rest = {key: value for key, value in schema.items() if key != "required"}
    return rest | ({"required": needed} if needed else {})
