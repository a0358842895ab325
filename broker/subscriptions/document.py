# SPDX-License-Identifier: Apache-2.0
"""Subscription documents: from the wire to the stored form and back (clauses 5.2.12 to 5.2.15, 5.2.22, 5.2.33).

The stored document has the members of the wire with all names expanded, so that it means the same whatever
``@context`` comes with the next request, and so that loading it resolves no context. A query text (``q``, ``csf``, a
type selection) is kept as it was given, beside the IRIs of the names in it::

    {"q": {"text": "speed>50", "names": {"speed": "https://..."}},
     "entities": [{"type": {"text": "Car|Bus", "names": {...}}, "idPattern": "..."}],
     "watchedAttributes": ["https://..."], "notification": {"attributes": ["https://..."], "endpoint": {...}}, ...}

Clause 5.8.2 merges fragments of this form member by member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.document_members import (
    Document,
    Read,
    list_of,
    object_of,
    one_of,
    read_boolean,
    read_count,
    read_header,
    read_id_pattern,
    read_ids,
    read_members,
    read_name,
    read_pair,
    read_positive,
    read_query,
    read_scope_query,
    read_text,
    read_time,
    read_uri,
)
from broker.errors import BadRequestData
from broker.query import parse_q, parse_types
from broker.query.tree import TypeTree
from broker.query.types import types_text
from broker.subscriptions.projection import ENTITY_MEMBERS, StoredMember, compact_member, expand_members
from broker.validation import check_dataset, fault, shown
from schemas.terms import GEO_JSON, JSON, JSON_LD, NULL

TRIGGERS: Final = (
    "entityCreated", "entityUpdated", "entityDeleted", "attributeCreated", "attributeUpdated", "attributeDeleted",
)  # fmt: skip
DEFAULT_TRIGGERS: Final = ("attributeCreated", "attributeUpdated")
FORMATS: Final = ("normalized", "concise", "simplified", "keyValues")
JOINS: Final = ("flat", "inline", "@none")
MEDIA_TYPES: Final = (JSON, JSON_LD, GEO_JSON)
_READ_ONLY: Final = frozenset({"status", "createdAt", "modifiedAt", "@context"})
_READ_ONLY_OF_NOTIFICATION: Final = frozenset(
    {"lastErrorReason", "lastFailure", "lastNotification", "lastSuccess", "status", "timesFailed", "timesSent"}
)

# Headers that the hub or the protocol sets itself; a subscriber who could set them could smuggle requests.
_RESERVED_HEADERS: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
     "trailer", "expect", "proxy-authorization", "proxy-connection", "link", "ngsild-tenant")
)  # fmt: skip


def expand_subscription(
    body: Any, terms: TermMap, *, fragment: bool = False, more: Mapping[str, Read] | None = None
) -> Document:
    """The stored form of a subscription without its ``id``, or of a ``fragment`` of one (clause 5.8.2).

    In a fragment, members set to NGSI-LD Null stay so; :func:`merge` removes them. Members that clause 5.2.12 does not
    have are left out, unless they look like a misspelled one; ``more`` are those of other kinds. Raises
    :class:`BadRequestData` with the path.
    """
    if not isinstance(body, dict):
        raise BadRequestData(f"{shown(body)} is not a JSON object")
    kind = body.get("type", body.get("@type"))
    if kind != "Subscription" and not (fragment and body.keys().isdisjoint(("type", "@type"))):
        raise fault("type", f'{shown(kind)} is not "Subscription"')
    members = {name: value for name, value in body.items() if name not in _IDENTITY}
    known = {**_MEMBERS, **(more or {})}
    nulls = {name for name, value in members.items() if fragment and value == NULL and name in known}
    document = read_members({k: v for k, v in members.items() if k not in nulls}, known, _READ_ONLY, "", terms)
    if "q" in document and "expandValues" in document:
        _add_value_names(document["q"], names_of_values(document), terms)
    return document | dict.fromkeys(nulls, NULL)


def names_of_values(document: Document) -> list[str]:
    """The attributes whose values in ``q`` are terms: ``expandValues`` without those that are JSON (``jsonKeys``)."""
    json_keys = document.get("jsonKeys", "").split(",")
    return [name for name in document.get("expandValues", "").split(",") if name not in json_keys]


def _add_value_names(query: Document, attributes: list[str], terms: TermMap) -> None:
    """Keep the IRIs of those values of ``q`` that are terms too (``expandValues``)."""
    names = query["names"]

    def expand(name: str) -> str:
        names[name] = names.get(name) or terms.expand_value_iri(name)
        return str(names[name])

    parse_q(query["text"], expand, expand_values=[name for name in attributes if name in names])


def _attribute(value: Any, path: str, terms: TermMap) -> str:
    if value in ENTITY_MEMBERS:
        raise fault(path, f"{shown(value)} is not an attribute")
    return read_name(value, path, terms)


def _projected(value: Any, path: str, terms: TermMap) -> list[StoredMember]:
    """The members of ``pick`` or ``omit`` (clause 4.21), each of them a text that may name several."""
    members: list[StoredMember] = []
    for index, text in enumerate(list_of(read_text)(value, path, terms)):
        members += expand_members(text, f"{path}[{index}]", lambda name: read_name(name, path, terms))
    return members


def _selector(value: Any, path: str, terms: TermMap) -> Document:
    selector: Document = object_of(_SELECTOR)(value, path, terms)
    if "type" not in selector:
        raise fault(path, 'an EntitySelector needs a "type" ("*" for any)')
    return selector


def _coordinates(value: Any, path: str, _terms: TermMap) -> Any:
    if not isinstance(value, str | list):
        raise fault(path, f"{shown(value)} is neither a JSON array nor a text")
    return value


def _header(value: Any, path: str, terms: TermMap) -> dict[str, str]:
    """A KeyValuePair that becomes an HTTP header (clause 6.3.8)."""
    pair = read_header(value, path, terms)
    name = pair["key"].lower()
    if name in _RESERVED_HEADERS or name.startswith("minamo-"):
        raise fault(f"{path}.key", f"the hub sets the header {pair['key']} itself")
    return pair


_IDENTITY: Final = frozenset({"id", "@id", "type", "@type"})
_SELECTOR: Final[dict[str, Read]] = {
    "id": read_ids,
    "idPattern": read_id_pattern,
    "type": read_query(parse_types, decode=False),
}
_GEO_QUERY: Final[dict[str, Read]] = {
    "geometry": read_text,
    "coordinates": _coordinates,
    "georel": read_text,
    "geoproperty": read_name,
}
_ENDPOINT: Final[dict[str, Read]] = {
    "uri": read_uri,
    "accept": one_of(MEDIA_TYPES),
    "receiverInfo": list_of(_header),
    "notifierInfo": list_of(read_pair),
    "timeout": read_positive,
    "cooldown": read_positive,
}
_NOTIFICATION: Final[dict[str, Read]] = {
    "attributes": list_of(_attribute),
    "pick": _projected,
    "omit": _projected,
    "format": one_of(FORMATS),
    "join": one_of(JOINS),
    "joinLevel": read_count,
    "showChanges": read_boolean,
    "sysAttrs": read_boolean,
    "endpoint": object_of(_ENDPOINT),
}
_MEMBERS: Final[dict[str, Read]] = {
    "subscriptionName": read_text,
    "description": read_text,
    "entities": list_of(_selector),
    "watchedAttributes": list_of(_attribute),
    "notificationTrigger": list_of(one_of(TRIGGERS)),
    "q": read_query(parse_q, decode=True),
    "geoQ": object_of(_GEO_QUERY),
    "scopeQ": read_scope_query,
    "csf": read_query(parse_q, decode=True),
    "datasetId": list_of(lambda value, path, _terms: check_dataset(value, path)),
    "expandValues": read_text,
    "jsonKeys": read_text,
    "expiresAt": read_time,
    "isActive": read_boolean,
    "jsonldContext": read_uri,
    "lang": read_text,
    "localOnly": read_boolean,
    "splitEntities": read_boolean,
    "ngsildConformance": read_text,
    "throttling": read_positive,
    "timeInterval": read_positive,
    "notification": object_of(_NOTIFICATION, _READ_ONLY_OF_NOTIFICATION),
}


def compact_document(document: Document, terms: TermMap) -> Document:
    """The members of the wire with the names of ``terms``; ``id``, ``type`` and read-only members are not in it."""
    compact = terms.compact_iri
    result = dict(document)
    for name in ("q", "csf"):
        if name in result:
            result[name] = result[name]["text"]
    if "watchedAttributes" in result:
        result["watchedAttributes"] = [compact(iri) for iri in result["watchedAttributes"]]
    if "entities" in result:
        result["entities"] = [_compact_selector(selector, terms) for selector in result["entities"]]
    if "geoproperty" in result.get("geoQ", ()):
        result["geoQ"] = {**result["geoQ"], "geoproperty": compact(result["geoQ"]["geoproperty"])}
    notification = dict(result.get("notification", {}))
    for name in ("attributes", "pick", "omit"):
        if name in notification:
            notification[name] = [compact_member(member, compact) for member in notification[name]]
    result["notification"] = notification
    result.setdefault("notificationTrigger", list(DEFAULT_TRIGGERS))
    return result


def _compact_selector(selector: Document, terms: TermMap) -> Document:
    tree = read_types(selector["type"])
    return {**selector, "type": "*" if tree is None else types_text(tree, terms.compact_iri)}


def read_types(stored: Document) -> TypeTree | None:
    """The tree of a stored type selection; None for ``*``."""
    return parse_types(stored["text"], stored["names"].__getitem__)
