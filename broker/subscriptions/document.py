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

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from broker.errors import BadRequestData
from broker.jsonld import TermMap
from broker.query import parse_id_pattern, parse_q, parse_scopes, parse_types
from broker.query.tree import And, Or, TypeTree
from broker.subscriptions.projection import ENTITY_MEMBERS, StoredMember, compact_member, expand_members
from broker.validation import canonical_time, check_dataset, check_uri, fault, shown
from schemas.terms import GEO_JSON, JSON, JSON_LD, NULL

Document: TypeAlias = dict[str, Any]
Read: TypeAlias = Callable[[Any, str, TermMap], Any]  # value, its path, the terms of the request

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
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 7230
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


def expand_subscription(body: Any, terms: TermMap, *, fragment: bool = False) -> Document:
    """The stored form of a subscription without its ``id``, or of a ``fragment`` of one (clause 5.8.2).

    In a fragment, members set to NGSI-LD Null stay so; :func:`merge` removes them. Members that clause 5.2.12 does not
    have are left out, unless they look like a misspelled one. Raises :class:`BadRequestData` with the path.
    """
    if not isinstance(body, dict):
        raise BadRequestData(f"{shown(body)} is not a JSON object")
    kind = body.get("type", body.get("@type"))
    if kind != "Subscription" and not (fragment and kind is None):
        raise fault("type", f'{shown(kind)} is not "Subscription"')
    members = {name: value for name, value in body.items() if name not in _IDENTITY}
    nulls = {name for name, value in members.items() if fragment and value == NULL and name in _MEMBERS}
    document = _read_members({k: v for k, v in members.items() if k not in nulls}, _MEMBERS, _READ_ONLY, "", terms)
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


def merge(document: Document, fragment: Document) -> Document:
    """``document`` with the members of ``fragment`` in place of its own (clause 5.5.8)."""
    merged = {**document, **fragment}
    return {name: value for name, value in merged.items() if value != NULL}


def _read_members(
    body: Mapping[str, Any], known: Mapping[str, Read], ignored: frozenset[str], path: str, terms: TermMap
) -> Document:
    document = {}
    for name, value in body.items():
        where = f"{path}.{name}" if path else name
        read = known.get(name)
        if read is not None:
            document[name] = read(value, where, terms)
        elif name not in ignored:
            _check_spelling(name, known, where)
    return document


def _check_spelling(name: str, known: Mapping[str, Read], path: str) -> None:
    """A misspelled member would change what is notified without a word."""
    meant = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    if meant:
        raise fault(path, f"there is no such member; {meant[0]} is meant, perhaps")


# Readers of single members.


def _text(value: Any, path: str, _terms: TermMap) -> str:
    if not isinstance(value, str) or value == NULL:
        raise fault(path, f"{shown(value)} is not a text")
    return value


def _boolean(value: Any, path: str, _terms: TermMap) -> bool:
    if not isinstance(value, bool):
        raise fault(path, f"{shown(value)} is neither true nor false")
    return value


def _positive(value: Any, path: str, _terms: TermMap) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e9:
        raise fault(path, f"{shown(value)} is not a number greater than 0")
    return value


def _count(value: Any, path: str, _terms: TermMap) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise fault(path, f"{shown(value)} is not a positive integer")
    return value


def _time(value: Any, path: str, _terms: TermMap) -> str:
    return canonical_time(value, path)


def _uri(value: Any, path: str, _terms: TermMap) -> str:
    return check_uri(value, path)


def _one_of(allowed: tuple[str, ...]) -> Read:
    def read(value: Any, path: str, _terms: TermMap) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise fault(path, f"{shown(value)} is not one of {', '.join(allowed)}")
        return value

    return read


def _list_of(read: Read) -> Read:
    def read_list(value: Any, path: str, terms: TermMap) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise fault(path, f"{shown(value)} is not a list with at least one element")
        return [read(item, f"{path}[{index}]", terms) for index, item in enumerate(value)]

    return read_list


def _object_of(known: Mapping[str, Read], ignored: frozenset[str] = frozenset()) -> Read:
    def read(value: Any, path: str, terms: TermMap) -> Document:
        if not isinstance(value, dict):
            raise fault(path, f"{shown(value)} is not a JSON object")
        return _read_members(value, known, ignored, path, terms)

    return read


def _name(value: Any, path: str, terms: TermMap) -> str:
    if not isinstance(value, str) or value == NULL:
        raise fault(path, f"{shown(value)} is not a name")
    try:
        return terms.expand_term(value)
    except BadRequestData as error:
        raise fault(path, error.detail) from None


def _attribute(value: Any, path: str, terms: TermMap) -> str:
    if value in ENTITY_MEMBERS:
        raise fault(path, f"{shown(value)} is not an attribute")
    return _name(value, path, terms)


def _projected(value: Any, path: str, terms: TermMap) -> list[StoredMember]:
    """The members of ``pick`` or ``omit`` (clause 4.21), each of them a text that may name several."""
    members: list[StoredMember] = []
    for index, text in enumerate(_list_of(_text)(value, path, terms)):
        members += expand_members(text, f"{path}[{index}]", lambda name: _name(name, path, terms))
    return members


def _query(parse: Callable[[str, Callable[[str], str]], object], *, decode: bool) -> Read:
    """A text of a query language, with the IRIs of the names in it.

    ``decode``: many clients write a query into a subscription as they would write it into a URL, percent-encoded.
    """

    def read(value: Any, path: str, terms: TermMap) -> Document:
        text = _text(value, path, terms)
        text = unquote(text) if decode else text
        names: dict[str, str] = {}

        def expand(name: str) -> str:
            names[name] = terms.expand_term(name)
            return names[name]

        try:
            parse(text, expand)
        except BadRequestData as error:
            raise fault(path, error.detail) from None
        return {"text": text, "names": names}

    return read


def _scope_query(value: Any, path: str, terms: TermMap) -> str:
    text = _text(value, path, terms)
    parse_scopes(text)
    return text


def _ids(value: Any, path: str, _terms: TermMap) -> str | list[str]:
    if isinstance(value, list) and value:
        return [check_uri(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return check_uri(value, path)


def _id_pattern(value: Any, path: str, terms: TermMap) -> str:
    return parse_id_pattern(_text(value, path, terms))


def _selector(value: Any, path: str, terms: TermMap) -> Document:
    selector: Document = _object_of(_SELECTOR)(value, path, terms)
    if "type" not in selector:
        raise fault(path, 'an EntitySelector needs a "type" ("*" for any)')
    return selector


def _coordinates(value: Any, path: str, _terms: TermMap) -> Any:
    if not isinstance(value, str | list):
        raise fault(path, f"{shown(value)} is neither a JSON array nor a text")
    return value


def _pair(value: Any, path: str, _terms: TermMap) -> dict[str, str]:
    """A KeyValuePair (clause 5.2.22)."""
    if not isinstance(value, dict):
        raise fault(path, f"{shown(value)} is not a JSON object")
    for member in ("key", "value"):
        if not isinstance(value.get(member), str):
            raise fault(f"{path}.{member}", f"{shown(value.get(member))} is not a text")
    return {"key": value["key"], "value": value["value"]}


def _header(value: Any, path: str, terms: TermMap) -> dict[str, str]:
    """A KeyValuePair that becomes an HTTP header (clause 6.3.8)."""
    pair = _pair(value, path, terms)
    name = pair["key"].lower()
    if not _HEADER_NAME.fullmatch(pair["key"]) or not _HEADER_VALUE.fullmatch(pair["value"]):
        raise fault(path, f"{shown(pair)} is not an HTTP header (RFC 7230)")
    if name in _RESERVED_HEADERS or name.startswith("minamo-"):
        raise fault(f"{path}.key", f"the hub sets the header {pair['key']} itself")
    return pair


_IDENTITY: Final = frozenset({"id", "@id", "type", "@type"})
_SELECTOR: Final[dict[str, Read]] = {
    "id": _ids,
    "idPattern": _id_pattern,
    "type": _query(parse_types, decode=False),
}
_GEO_QUERY: Final[dict[str, Read]] = {
    "geometry": _text,
    "coordinates": _coordinates,
    "georel": _text,
    "geoproperty": _name,
}
_ENDPOINT: Final[dict[str, Read]] = {
    "uri": _uri,
    "accept": _one_of(MEDIA_TYPES),
    "receiverInfo": _list_of(_header),
    "notifierInfo": _list_of(_pair),
    "timeout": _positive,
    "cooldown": _positive,
}
_NOTIFICATION: Final[dict[str, Read]] = {
    "attributes": _list_of(_attribute),
    "pick": _projected,
    "omit": _projected,
    "format": _one_of(FORMATS),
    "join": _one_of(JOINS),
    "joinLevel": _count,
    "showChanges": _boolean,
    "sysAttrs": _boolean,
    "endpoint": _object_of(_ENDPOINT),
}
_MEMBERS: Final[dict[str, Read]] = {
    "subscriptionName": _text,
    "description": _text,
    "entities": _list_of(_selector),
    "watchedAttributes": _list_of(_attribute),
    "notificationTrigger": _list_of(_one_of(TRIGGERS)),
    "q": _query(parse_q, decode=True),
    "geoQ": _object_of(_GEO_QUERY),
    "scopeQ": _scope_query,
    "csf": _query(parse_q, decode=True),
    "datasetId": _list_of(lambda value, path, _terms: check_dataset(value, path)),
    "expandValues": _text,
    "jsonKeys": _text,
    "expiresAt": _time,
    "isActive": _boolean,
    "jsonldContext": _uri,
    "lang": _text,
    "localOnly": _boolean,
    "splitEntities": _boolean,
    "ngsildConformance": _text,
    "throttling": _positive,
    "timeInterval": _positive,
    "notification": _object_of(_NOTIFICATION, _READ_ONLY_OF_NOTIFICATION),
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
    return {**selector, "type": "*" if tree is None else _type_text(tree, terms)}


def read_types(stored: Document) -> TypeTree | None:
    """The tree of a stored type selection; None for ``*``."""
    return parse_types(stored["text"], stored["names"].__getitem__)


def _type_text(tree: TypeTree, terms: TermMap, inside: type | None = None) -> str:
    if isinstance(tree, And | Or):
        text = ("|" if isinstance(tree, Or) else ";").join(
            _type_text(part, terms, type(tree)) for part in tree.operands
        )
        return f"({text})" if inside is not None else text
    return terms.compact_iri(tree.iri)
