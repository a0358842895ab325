# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of the hub, and a page of it for people (``/openapi.json``, ``/docs``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.routing import BaseRoute

from api.ngsild.resource import Resource
from api.openapi import ngsi_ld, plain
from api.openapi.answers import SHARED
from api.openapi.building import PARTS
from api.openapi.entity_schemas import INPUT, OUTPUT
from api.openapi.plain_schemas import PLAIN
from api.openapi.registration_schemas import REGISTRATIONS
from api.openapi.resource_schemas import CONTEXTS, DISCOVERY, ERRORS, QUERIES, SUBSCRIPTIONS

SCHEMAS: Final = {
    **PARTS,
    **INPUT,
    **OUTPUT,
    **QUERIES,
    **SUBSCRIPTIONS,
    **REGISTRATIONS,
    **DISCOVERY,
    **CONTEXTS,
    **ERRORS,
    **PLAIN,
}
"""All schemas by name."""

_DESCRIPTION: Final = """\
City data hub / 都市データハブ.

Two APIs on one port: NGSI-LD (ETSI GS CIM 009 V1.9.1) under `/ngsi-ld/v1`, and a plain JSON API under `/api/v1`.
Errors are problem details (RFC 9457). HEAD is answered wherever GET is. An unknown URL parameter of the NGSI-LD API
is an error, and so is one given twice.

NGSI-LD は `/ngsi-ld/v1`、簡易な JSON の API は `/api/v1` にあります。エラーは RFC 9457 の形式です。
"""


def openapi_document(routes: Sequence[BaseRoute], version: str) -> dict[str, Any]:
    """The document of an application with ``routes``."""
    resources = [route for route in routes if isinstance(route, Resource)]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Minamo",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "tags": [*ngsi_ld.tags(), *({"name": name, "description": text} for name, text in plain.TAGS.items())],
        "paths": {**ngsi_ld.ngsi_ld_paths(resources), **plain.plain_paths(routes), **plain.OPERATION_PATHS},
        "components": {
            "schemas": SCHEMAS,
            "responses": SHARED,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed only where the hub has tokens / トークンを設定した場合のみ",
                }
            },
        },
    }
