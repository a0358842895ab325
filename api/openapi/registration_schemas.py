# SPDX-License-Identifier: Apache-2.0
"""Context source registrations as JSON Schemas, by name."""

from __future__ import annotations

from typing import Any, Final

from api.openapi.building import ANY, BOOLEAN, COUNT, NAME, TEXT, TIME, URI, Schema, array, members, one_of, ref
from broker.registrations.document import MODES, TYPE
from broker.registrations.operations import GROUPS, OPERATIONS
from broker.validation import GEOMETRY_DEPTH

_NAMES: Final = array(NAME, 1)
_MILLISECONDS: Final[Schema] = {"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000_000}
_DURATION: Final[Schema] = {"type": "string", "examples": ["PT5M"]}
_INTERVAL: Final = members({"startAt": TIME, "endAt": TIME}, ["startAt"], others=True)
_PAIR: Final = members({"key": {"type": "string"}, "value": {"type": "string"}}, ["key", "value"], others=True)
_GEOMETRY: Final = members(
    {"type": one_of(*GEOMETRY_DEPTH), "coordinates": {"type": "array"}}, ["type", "coordinates"], others=True
)
_REGISTRATION: Final[dict[str, Schema]] = {
    "id": URI,
    "type": {"const": TYPE},
    "endpoint": {"type": "string", "format": "uri", "examples": ["http://127.0.0.1:9912"]},
    "information": array(ref("RegistrationInfo"), 1),
    "mode": one_of(*MODES),
    "operations": array(one_of(*sorted(GROUPS), *sorted(OPERATIONS)), 1),
    "tenant": TEXT,
    "contextSourceAlias": TEXT,
    "contextSourceInfo": array(_PAIR, 1),
    "datasetId": array(TEXT, 1),
    "expiresAt": TIME,
    "location": _GEOMETRY,
    "observationSpace": _GEOMETRY,
    "operationSpace": _GEOMETRY,
    "management": members(
        {
            "cacheDuration": _DURATION,
            "cooldown": _MILLISECONDS,
            "timeout": _MILLISECONDS,
            "localOnly": BOOLEAN,
        },
        others=True,
        description="Milliseconds (5.2.34); nothing is cached",
    ),
    "managementInterval": _INTERVAL,
    "observationInterval": _INTERVAL,
    "refreshRate": _DURATION,
    "registrationName": TEXT,
    "description": TEXT,
    "scope": {"anyOf": [TEXT, array(TEXT, 1)]},
}
_READ_ONLY: Final[dict[str, Any]] = {
    "createdAt": TIME,
    "modifiedAt": TIME,
    "status": one_of("ok", "failed"),
    "timesSent": COUNT,
    "timesFailed": COUNT,
    "lastSuccess": TIME,
    "lastFailure": TIME,
    "@context": ANY,
}

REGISTRATIONS: Final[dict[str, Schema]] = {
    "RegistrationInfo": members(
        {
            "entities": array(
                members(
                    {"id": URI, "idPattern": {"type": "string"}, "type": {"anyOf": [NAME, _NAMES]}},
                    ["type"],
                    others=True,
                ),
                1,
            ),
            "propertyNames": _NAMES,
            "relationshipNames": _NAMES,
        },
        others=True,
        description="Entities and attributes of a source (5.2.10); at least one of the three",
    ),
    "CSourceRegistration": members(
        _REGISTRATION,
        ["type", "endpoint", "information"],
        others=True,
        description="A source and what it has (5.2.9). Other members are Context Source Properties",
    ),
    "CSourceRegistrationFragment": members(
        _REGISTRATION, others=True, description="Members to change; urn:ngsi-ld:null removes one (5.9.3)"
    ),
    "CSourceRegistrationRepresentation": members(
        _REGISTRATION | _READ_ONLY, ["id", "type", "endpoint", "information"], others=True
    ),
    "CSourceRegistrations": array(ref("CSourceRegistrationRepresentation")),
}
