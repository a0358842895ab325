# SPDX-License-Identifier: Apache-2.0
"""Registration documents: from the wire to the stored form and back (clauses 5.2.8 to 5.2.11, 5.2.22, 5.2.34).

The stored document has the members of the wire with all names expanded, so that loading it resolves no context::

    {"endpoint": "http://...", "mode": "redirect", "operations": ["retrieveOps"],
     "information": [{"entities": [{"type": ["https://..."], "idPattern": "..."}], "propertyNames": ["https://..."]}],
     "properties": {"https://...": {"given": "sensor", "instances": {"@none": {...}}}}, ...}

``properties`` are the Context Source Properties: every member of the wire that clause 5.2.9 does not have. They are
answered as they were given. Clause 5.9.3 merges fragments of this form member by member.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.document_members import (
    Document,
    Read,
    list_of,
    object_of,
    one_of,
    read_boolean,
    read_header,
    read_id_pattern,
    read_name,
    read_positive,
    read_text,
    read_time,
    read_uri,
)
from broker.errors import BadRequestData
from broker.expansion import expand_attribute
from broker.history.aggregation import parse_period
from broker.registrations.operations import GROUPS, OPERATIONS
from broker.validation import check_dataset, check_geometry, check_scopes, fault, shown
from schemas.terms import JSON, JSON_LD, NULL

TYPE: Final = "ContextSourceRegistration"
MODES: Final = ("inclusive", "exclusive", "redirect", "auxiliary")
GEOMETRIES: Final = ("location", "observationSpace", "operationSpace")
TAKEN_FROM_REQUEST: Final = "urn:ngsi-ld:request"
"""A value of ``contextSourceInfo`` that stands for that of the request which is passed on (clause 4.3.6.5)."""

_IDENTITY: Final = frozenset(("id", "@id", "type", "@type", "@context"))
_READ_ONLY: Final = frozenset(
    ("createdAt", "modifiedAt", "status", "timesSent", "timesFailed", "lastSuccess", "lastFailure")
)
_VERSION: Final = re.compile(r"[1-9]\d{0,2}\.\d{1,3}")
_ALIAS: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z:-]{1,200}")  # a pseudonym may look like a host with its port


def expand_registration(body: Any, terms: TermMap, *, fragment: bool = False) -> Document:
    """The stored form of a registration without its ``id``, or of a ``fragment`` of one (clause 5.9.3).

    In a fragment, members set to NGSI-LD Null stay so. Raises :class:`BadRequestData` with the path.
    """
    if not isinstance(body, dict):
        raise BadRequestData(f"{shown(body)} is not a JSON object")
    kind = body.get("type", body.get("@type"))
    if kind != TYPE and not (fragment and kind is None):
        raise fault("type", f'{shown(kind)} is not "{TYPE}"')
    document: Document = {}
    properties: Document = {}
    for name, value in body.items():
        if name in _IDENTITY or name in _READ_ONLY:
            continue
        if name in _MEMBERS:
            removed = fragment and value in (NULL, None)  # a JSON null removes too, as in RFC 7396
            document[name] = NULL if removed else _MEMBERS[name](value, name, terms)
        else:
            properties[_property_iri(name, terms)] = _property(name, value, terms, fragment=fragment)
    return document | ({"properties": properties} if properties else {})


def merge_registration(document: Document, fragment: Document) -> Document:
    """``document`` with the members of ``fragment`` in place of its own (clause 5.5.8)."""
    merged = {**document, **fragment}
    if "properties" in fragment:
        both = {**document.get("properties", {}), **fragment["properties"]}
        merged["properties"] = {iri: value for iri, value in both.items() if value != NULL}
    return {name: value for name, value in merged.items() if value not in (NULL, {})}


def compact_registration(document: Document, terms: TermMap) -> Document:
    """The members of the wire with the names of ``terms``; ``id``, ``type`` and read-only members are not in it."""
    result = {name: value for name, value in document.items() if name != "properties"}
    result["information"] = [compact_information(item, terms) for item in document["information"]]
    for iri, stored in document.get("properties", {}).items():
        result[terms.compact_iri(iri)] = stored["given"]
    return result


def compact_information(stored: Document, terms: TermMap) -> Document:
    """A RegistrationInfo (clause 5.2.10) with the names of ``terms``."""
    result = dict(stored)
    if "entities" in stored:
        result["entities"] = [_compact_entity(item, terms) for item in stored["entities"]]
    for name in ("propertyNames", "relationshipNames"):
        if name in stored:
            result[name] = [terms.compact_iri(iri) for iri in stored[name]]
    return result


def _compact_entity(stored: Document, terms: TermMap) -> Document:
    types = [terms.compact_iri(iri) for iri in stored["type"]]
    return {**stored, "type": types[0] if len(types) == 1 else types}


def _property_iri(name: str, terms: TermMap) -> str:
    meant = difflib.get_close_matches(name, _MEMBERS, n=1, cutoff=0.85)
    if meant:
        raise fault(name, f"there is no such member; {meant[0]} is meant, perhaps")
    return read_name(name, name, terms)


def _property(name: str, value: Any, terms: TermMap, *, fragment: bool) -> Any:
    if fragment and value in (NULL, None):
        return NULL
    return {"given": value, "instances": expand_attribute(name, value, terms)}


# Readers of single members.


def _non_empty(value: Any, path: str, terms: TermMap) -> str:
    text = read_text(value, path, terms)
    if not text:
        raise fault(path, "it is empty")
    return text


def _duration(value: Any, path: str, terms: TermMap) -> str:
    text = read_text(value, path, terms)
    try:
        parse_period(text)
    except BadRequestData:
        raise fault(path, f"{shown(text)} is not an ISO 8601 duration such as PT5M") from None
    return text


def _types(value: Any, path: str, terms: TermMap) -> list[str]:
    given = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(list_of(read_name)(given, path, terms)))


def _entity_info(value: Any, path: str, terms: TermMap) -> Document:
    """An EntityInfo (clause 5.2.8): its ``type`` is required."""
    info: Document = object_of(_ENTITY_INFO)(value, path, terms)
    if "type" not in info:
        raise fault(path, 'an EntityInfo needs a "type": entities are not registered by their id alone')
    return info


def _information(value: Any, path: str, terms: TermMap) -> Document:
    """A RegistrationInfo (clause 5.2.10): at least one of its members is there."""
    info: Document = object_of(_REGISTRATION_INFO)(value, path, terms)
    if not info:
        raise fault(path, "at least one of entities, propertyNames and relationshipNames is needed")
    return info


def _interval(value: Any, path: str, terms: TermMap) -> Document:
    """A TimeInterval (clause 5.2.11)."""
    interval: Document = object_of(_TIME_INTERVAL)(value, path, terms)
    if "startAt" not in interval:
        raise fault(path, 'a TimeInterval needs a "startAt"')
    return interval


def _info_pair(value: Any, path: str, terms: TermMap) -> dict[str, str]:
    """A KeyValuePair that becomes an HTTP header, or one of those that clause 4.3.6.6 defines."""
    pair = read_header(value, path, terms)
    key, content = pair["key"], pair["value"]
    if content == TAKEN_FROM_REQUEST:
        return pair
    if key in ("accept", "contentType") and content not in (JSON, JSON_LD):
        raise fault(f"{path}.value", f"{shown(content)} is not one of {JSON}, {JSON_LD}")
    if key == "jsonldContext":
        read_uri(content, f"{path}.value", terms)
    if key == "ngsildConformance" and not _VERSION.fullmatch(content):
        raise fault(f"{path}.value", f"{shown(content)} is not a version such as 1.5")
    return pair


def _alias(value: Any, path: str, terms: TermMap) -> str:
    text = read_text(value, path, terms)
    if not _ALIAS.fullmatch(text):
        raise fault(path, f"{shown(text)} is not a pseudonym (RFC 7230)")
    return text


def _scopes(value: Any, path: str, _terms: TermMap) -> Any:
    check_scopes(value, path)
    return value


def _geometry(value: Any, path: str, _terms: TermMap) -> Any:
    return check_geometry(value, path)


def _dataset(value: Any, path: str, _terms: TermMap) -> str:
    return check_dataset(value, path)


_ENTITY_INFO: Final[dict[str, Read]] = {"id": read_uri, "idPattern": read_id_pattern, "type": _types}
_REGISTRATION_INFO: Final[dict[str, Read]] = {
    "entities": list_of(_entity_info),
    "propertyNames": list_of(read_name),
    "relationshipNames": list_of(read_name),
}
_TIME_INTERVAL: Final[dict[str, Read]] = {"startAt": read_time, "endAt": read_time}
_MANAGEMENT: Final[dict[str, Read]] = {
    "cacheDuration": _duration,
    "cooldown": read_positive,
    "localOnly": read_boolean,
    "timeout": read_positive,
}
_MEMBERS: Final[dict[str, Read]] = {
    "endpoint": read_uri,
    "information": list_of(_information),
    "contextSourceInfo": list_of(_info_pair),
    "contextSourceAlias": _alias,
    "description": _non_empty,
    "datasetId": list_of(_dataset),
    "expiresAt": read_time,
    "localOnly": read_boolean,  # of Table 5.2.34-1; some give it here
    "management": object_of(_MANAGEMENT),
    "managementInterval": _interval,
    "mode": one_of(MODES),
    "observationInterval": _interval,
    "operations": list_of(one_of((*sorted(GROUPS), *sorted(OPERATIONS)))),
    "refreshRate": _duration,
    "registrationName": _non_empty,
    "scope": _scopes,
    "tenant": _non_empty,
    **dict.fromkeys(GEOMETRIES, _geometry),
}
