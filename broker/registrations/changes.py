# SPDX-License-Identifier: Apache-2.0
"""Changes of an entity that is in several places: who makes which part (clauses 4.3.6.2, 4.3.6.3, 5.6). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from broker.contexts.jsonld import TermMap
from broker.expansion import ENTITY_MEMBERS, is_instance, is_own_member
from broker.registrations.matching import Share
from broker.registrations.model import Registration
from broker.registrations.requests import Manner, SourceRequest, resource_url
from schemas.contexts import context_url
from schemas.terms import CORE_CONTEXT, JSON, JSON_LD

_MEMBERS_OF_INSTANCES: Final = frozenset(("type", "@type", "createdAt", "modifiedAt", "instanceId", "lang"))


@dataclass(frozen=True, slots=True)
class Territory:
    """The attributes (IRIs) that somebody makes changes to: ``named`` ones only, or all but the ``excluded``."""

    named: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()

    def covers(self, attribute: str) -> bool:
        """Whether the attribute is changed here."""
        return attribute not in self.excluded and (self.named is None or attribute in self.named)

    def part(self, body: Mapping[str, Any], terms: TermMap) -> dict[str, Any]:
        """What of an entity or a fragment is changed here, members that are no attributes included."""
        return {
            name: value
            for name, value in body.items()
            if name in ENTITY_MEMBERS or self.covers(terms.expand_term(name))
        }


def of_source(shares: Iterable[Share]) -> Territory:
    """What a source registered of the entity."""
    named = [share.attributes for share in shares]
    return Territory(frozenset().union(*named) if all(named) else None)


def of_hub(proxied: Iterable[Share]) -> Territory | None:
    """What the hub may hold beside proxied registrations; None when that is nothing (clause 4.3.6.3)."""
    excluded: set[str] = set()
    for share in proxied:
        if not share.attributes:
            return None
        excluded |= share.attributes
    return Territory(excluded=frozenset(excluded))


def has_attributes(body: Mapping[str, Any]) -> bool:
    """Whether an entity or a fragment says anything about attributes."""
    return any(name not in ENTITY_MEMBERS for name in body)


def change_request(
    registration: Registration,
    method: str,
    segments: Collection[str],
    parameters: Mapping[str, str],
    body: Any,
    manner: Manner,
) -> SourceRequest:
    """A change as it is passed on; ``body`` has the names of ``manner`` and no ``@context`` (clause 4.3.6.6)."""
    told = {name: value for name, value in parameters.items() if name != "local"}
    if registration.local_only:
        told["local"] = "true"
    url = resource_url(registration, *segments)
    if told:
        url += "?" + urlencode(told, safe=":*,/()[]|;", quote_via=quote)
    headers = dict(manner.headers)
    if body is None:
        return SourceRequest(method, url, headers)
    headers["Content-Type"] = JSON
    if registration.info("contentType") == JSON_LD and isinstance(body, dict):
        headers["Content-Type"] = JSON_LD
        headers.pop("Link", None)
        body = {**body, "@context": context_url(manner.terms.context) or CORE_CONTEXT}
    return SourceRequest(method, url, headers, orjson.dumps(body))


def renamed(body: Mapping[str, Any], source: TermMap, target: TermMap) -> dict[str, Any]:
    """An entity or a fragment with the names of ``target`` in place of those of ``source``."""
    result: dict[str, Any] = {}
    for name, value in body.items():
        if name in ("type", "@type"):
            types = value if isinstance(value, list) else [value]
            written = [target.compact_iri(source.expand_term(kind)) for kind in types]
            result["type"] = written if isinstance(value, list) else written[0]
        elif name in ENTITY_MEMBERS:
            result[name] = value
        else:
            result[target.compact_iri(source.expand_term(name))] = renamed_attribute(value, source, target)
    return result


def renamed_attribute(value: Any, source: TermMap, target: TermMap, *, fragment: bool = False) -> Any:
    """The value of an attribute, its instances and their sub-attributes likewise; bare values are as they are.

    An object that is a ``fragment`` is an instance, whatever it says.
    """
    if isinstance(value, list):
        return [renamed_attribute(item, source, target) if is_instance(item) else item for item in value]
    if not isinstance(value, dict) or not (fragment or is_instance(value)):
        return value
    result: dict[str, Any] = {}
    for name, item in value.items():
        if name == "vocab":
            texts = item if isinstance(item, list) else [item]
            words = [target.compact_iri(source.expand_value_iri(text)) for text in texts]
            result[name] = words if isinstance(item, list) else words[0]
        elif name in _MEMBERS_OF_INSTANCES or is_own_member(name):
            result[name] = item
        else:
            result[target.compact_iri(source.expand_term(name))] = renamed_attribute(item, source, target)
    return result
