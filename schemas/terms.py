# SPDX-License-Identifier: Apache-2.0
"""Names fixed by the NGSI-LD specification (ETSI GS CIM 009 V1.9.1): IRIs, members, media types, error types."""

from __future__ import annotations

from typing import Final

NGSI_LD: Final = "https://uri.etsi.org/ngsi-ld/"
MINAMO: Final = "urn:minamo:"  # names of the hub's own, which no @context shortens
DEFAULT_VOCABULARY: Final = "https://uri.etsi.org/ngsi-ld/default-context/"
ERROR_TYPE: Final = "https://uri.etsi.org/ngsi-ld/errors/"  # clause 5.5.2, followed by the error's name
CORE_CONTEXT: Final = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
CONTEXT_LINK_REL: Final = "http://www.w3.org/ns/json-ld#context"

LOCATION: Final = NGSI_LD + "location"
OBSERVATION_SPACE: Final = NGSI_LD + "observationSpace"
OPERATION_SPACE: Final = NGSI_LD + "operationSpace"

NULL: Final = "urn:ngsi-ld:null"  # clause 4.5.0: NGSI-LD Null
NO_DATASET: Final = "@none"  # clause 4.5.5: the default attribute instance

JSON: Final = "application/json"
JSON_LD: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"
MERGE_PATCH: Final = "application/merge-patch+json"
PROBLEM_JSON: Final = "application/problem+json"
