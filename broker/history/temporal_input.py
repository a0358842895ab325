# SPDX-License-Identifier: Apache-2.0
"""Temporal representations as requests give them (clauses 4.5.6 to 4.5.8, 5.2.20): several instances an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.entities import VALUE_MEMBER, Instance
from broker.errors import BadRequestData
from broker.expansion import ENTITY_MEMBERS, check_core_attribute, entity_members, expand_attribute, is_instance
from broker.history.temporal import INSTANCE_ID, SCOPE
from broker.merging import is_removal
from broker.validation import check_scopes, check_time, check_uri, shown
from schemas.terms import NO_DATASET, NULL

_NULLS: Final = (NULL, [NULL], {NO_DATASET: NULL})
_SCOPE_MEMBERS: Final = frozenset(("type", "value", "observedAt", "createdAt", "modifiedAt", "deletedAt", "instanceId"))
_LARGEST_KEY: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class GivenInstance:
    """One instance of a temporal representation; ``removed`` when it tells that the attribute ended (clause 4.5.7)."""

    attribute: str
    dataset: str
    instance: Instance
    removed: bool = False


@dataclass(frozen=True, slots=True)
class GivenScopes:
    """The scopes that held from ``observed_at`` on (None: since the hub learns of it); none: the scope ended."""

    scopes: tuple[str, ...]
    observed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TemporalFragment:
    """An EntityTemporal, or a fragment of one: names are IRIs, absent members are None or empty."""

    instances: tuple[GivenInstance, ...]
    id: str | None = None
    types: tuple[str, ...] = ()
    scopes: tuple[GivenScopes, ...] = ()


def expand_temporal(body: Any, terms: TermMap) -> TemporalFragment:
    """The temporal representation in ``body``; raises :class:`BadRequestData`.

    An NGSI-LD Null is the value of a deleted attribute and allowed as nothing else (clause 5.5.4).
    """
    if not isinstance(body, Mapping):
        raise BadRequestData(f"{shown(body)} is not a JSON object")
    rest = dict(body)
    scopes = _given_scopes(rest.pop("scope")) if "scope" in body else []
    members, _ = entity_members(rest, terms, allow_null=False)
    instances = [
        given
        for name, value in rest.items()
        if name not in ENTITY_MEMBERS
        for given in expand_temporal_attribute(name, value, terms)
    ]
    return TemporalFragment(tuple(instances), members.get("id"), members.get("types", ()), tuple(scopes))


def _given_scopes(value: Any) -> list[GivenScopes]:
    """Scopes as they are, or in their temporal representation as a Property (clause 4.5.6), in their order."""
    several = value if isinstance(value, list) else [value]
    if not any(isinstance(item, Mapping) for item in several):
        return [GivenScopes(check_scopes(value))]
    return [_scopes_of(item, f"scope[{index}]") for index, item in enumerate(several)]


def _scopes_of(item: Any, path: str) -> GivenScopes:
    if not isinstance(item, Mapping) or item.get("type", "Property") != "Property" or "value" not in item:
        raise BadRequestData(f"{path}: {shown(item)} is not a Property with a scope as its value")
    if not _SCOPE_MEMBERS.issuperset(item):
        raise BadRequestData(f"{path}: the scope has no members but value and its times")
    value = item["value"]
    ended = value in (NULL, [NULL], [])
    observed_at = check_time(item["observedAt"], f"{path}.observedAt") if "observedAt" in item else None
    return GivenScopes(() if ended else check_scopes(value, f"{path}.value"), observed_at)


def expand_temporal_attribute(name: str, value: Any, terms: TermMap) -> list[GivenInstance]:
    """All instances of one attribute, in their order."""
    if value == []:
        raise BadRequestData(f"{name}: an attribute of a temporal evolution has at least one instance")
    several = isinstance(value, list) and any(map(is_instance, value))
    return [_given(name, item, terms) for item in (value if several else [value])]


def expand_one_instance(name: str, body: Any, terms: TermMap) -> GivenInstance:
    """The instance in a request about one: by itself, or as the only one of the attribute in a fragment.

    Any other object would pass for a value, and take the place of what was measured; it is ``BadRequestData``.
    """
    if isinstance(body, Mapping) and not is_instance(body):
        if [terms.expand_term(member) for member in body] != [terms.expand_term(name)]:
            raise BadRequestData(f"The body is an instance of {name}, or an object with nothing but {name}")
        (body,) = body.values()
    given = expand_temporal_attribute(name, body, terms)
    if len(given) != 1:
        raise BadRequestData(f"One instance of {name} is expected, not {len(given)}")
    return given[0]


def _given(name: str, item: Any, terms: TermMap) -> GivenInstance:
    """Only an instance whose value is Null may hold one."""
    ended = isinstance(item, Mapping) and any(item.get(member) in _NULLS for member in VALUE_MEMBER.values())
    if terms.expand_term(name) == SCOPE:
        raise BadRequestData("The scope is no attribute with instances of its own here")
    expanded = expand_attribute(name, item, terms, allow_null=ended)
    iri = terms.expand_term(name)
    if not ended:
        check_core_attribute(iri, expanded, name)
    ((dataset, instance),) = expanded.items()
    return GivenInstance(iri, dataset, instance, ended and is_removal(instance))


def instance_key(instance_id: str) -> int | None:
    """The number of the history row that an ``instanceId`` names; None for a URI that the hub never gave out.

    Raises :class:`BadRequestData` when it is no URI.
    """
    number = check_uri(instance_id, "The instanceId").removeprefix(INSTANCE_ID)
    if not (number.isascii() and number.isdecimal()) or len(number) > 19 or int(number) > _LARGEST_KEY:
        return None
    return int(number)
