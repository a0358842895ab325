# SPDX-License-Identifier: Apache-2.0
"""Readers of members of JSON documents that are stored as they are, with names expanded: subscriptions, registrations.

A reader takes a value, its path in the document and the terms of the request. It gives the stored form of the value and
raises :class:`~broker.errors.BadRequestData` with the path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData
from broker.query import parse_id_pattern, parse_scopes
from broker.validation import canonical_time, check_uri, fault, shown
from schemas.terms import NULL

Document: TypeAlias = dict[str, Any]
Read: TypeAlias = Callable[[Any, str, TermMap], Any]  # value, its path, the terms of the request

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 7230
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


def read_members(
    body: Mapping[str, Any], known: Mapping[str, Read], ignored: frozenset[str], path: str, terms: TermMap
) -> Document:
    """The members of ``body`` that are ``known``. Others are left out, unless they look like a misspelled one."""
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


def read_text(value: Any, path: str, _terms: TermMap) -> str:
    """A text."""
    if not isinstance(value, str) or value == NULL:
        raise fault(path, f"{shown(value)} is not a text")
    return value


def read_boolean(value: Any, path: str, _terms: TermMap) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise fault(path, f"{shown(value)} is neither true nor false")
    return value


def read_positive(value: Any, path: str, _terms: TermMap) -> float:
    """A number greater than 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e9:
        raise fault(path, f"{shown(value)} is not a number greater than 0")
    return value


def read_count(value: Any, path: str, _terms: TermMap) -> int:
    """A positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise fault(path, f"{shown(value)} is not a positive integer")
    return value


def read_time(value: Any, path: str, _terms: TermMap) -> str:
    """A DateTime of clause 4.6.3 in canonical form."""
    return canonical_time(value, path)


def read_uri(value: Any, path: str, _terms: TermMap) -> str:
    """An absolute URI."""
    return check_uri(value, path)


def one_of(allowed: tuple[str, ...]) -> Read:
    """A reader of one of these texts."""

    def read(value: Any, path: str, _terms: TermMap) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise fault(path, f"{shown(value)} is not one of {', '.join(allowed)}")
        return value

    return read


def list_of(read: Read) -> Read:
    """A reader of a list with at least one element."""

    def read_list(value: Any, path: str, terms: TermMap) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise fault(path, f"{shown(value)} is not a list with at least one element")
        return [read(item, f"{path}[{index}]", terms) for index, item in enumerate(value)]

    return read_list


def object_of(known: Mapping[str, Read], ignored: frozenset[str] = frozenset()) -> Read:
    """A reader of an object with these members; read-only ones are ``ignored``."""

    def read(value: Any, path: str, terms: TermMap) -> Document:
        if not isinstance(value, dict):
            raise fault(path, f"{shown(value)} is not a JSON object")
        return read_members(value, known, ignored, path, terms)

    return read


def read_name(value: Any, path: str, terms: TermMap) -> str:
    """The name of a type or an attribute, as its IRI."""
    if not isinstance(value, str) or value == NULL:
        raise fault(path, f"{shown(value)} is not a name")
    try:
        return terms.expand_term(value)
    except BadRequestData as error:
        raise fault(path, error.detail) from None


def read_query(parse: Callable[[str, Callable[[str], str]], object], *, decode: bool) -> Read:
    """A text of a query language, with the IRIs of the names in it.

    ``decode``: many clients write a query into a subscription as they would write it into a URL, percent-encoded.
    """

    def read(value: Any, path: str, terms: TermMap) -> Document:
        text = read_text(value, path, terms)
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


def read_scope_query(value: Any, path: str, terms: TermMap) -> str:
    """A scope query (clause 4.19)."""
    text = read_text(value, path, terms)
    parse_scopes(text)
    return text


def read_ids(value: Any, path: str, _terms: TermMap) -> str | list[str]:
    """A URI or a list of them."""
    if isinstance(value, list) and value:
        return [check_uri(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return check_uri(value, path)


def read_id_pattern(value: Any, path: str, terms: TermMap) -> str:
    """A regular expression for entity ids."""
    return parse_id_pattern(read_text(value, path, terms))


def read_pair(value: Any, path: str, _terms: TermMap) -> dict[str, str]:
    """A KeyValuePair (clause 5.2.22)."""
    if not isinstance(value, dict):
        raise fault(path, f"{shown(value)} is not a JSON object")
    for member in ("key", "value"):
        if not isinstance(value.get(member), str):
            raise fault(f"{path}.{member}", f"{shown(value.get(member))} is not a text")
    return {"key": value["key"], "value": value["value"]}


def read_header(value: Any, path: str, terms: TermMap) -> dict[str, str]:
    """A KeyValuePair that becomes an HTTP header."""
    pair = read_pair(value, path, terms)
    if not _HEADER_NAME.fullmatch(pair["key"]) or not _HEADER_VALUE.fullmatch(pair["value"]):
        raise fault(path, f"{shown(pair)} is not an HTTP header (RFC 7230)")
    return pair


def merge(document: Document, fragment: Document) -> Document:
    """``document`` with the members of ``fragment`` in place of its own (clause 5.5.8)."""
    merged = {**document, **fragment}
    return {name: value for name, value in merged.items() if value != NULL}
