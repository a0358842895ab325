# SPDX-License-Identifier: Apache-2.0
"""What a context source registration says (clause 5.2.9), read from its stored document, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.document_members import Document
from broker.entities import Attributes, ExpandedEntity
from broker.errors import BadRequestData
from broker.query.patterns import compile_pattern
from broker.registrations.document import GEOMETRIES, TYPE, compact_registration
from broker.registrations.operations import OF_AUXILIARY, operations_of
from broker.sealed import Stored, plain
from broker.times import parse_time, to_text
from broker.validation import check_scopes, fault
from schemas.terms import NGSI_LD, NO_DATASET

_AS_PROPERTIES: Final = ("contextSourceAlias", "description", "endpoint", "mode", "registrationName", "tenant")
"""Members that a context source filter can ask for beside the Context Source Properties."""


class Mode(StrEnum):
    """How a source and the hub share entities (clause 4.3.6)."""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"
    REDIRECT = "redirect"
    AUXILIARY = "auxiliary"

    @property
    def is_proxied(self) -> bool:
        """Whether what is registered is held by the source and not here (clause 4.3.6.3)."""
        return self in (Mode.EXCLUSIVE, Mode.REDIRECT)


@dataclass(frozen=True, slots=True)
class EntityInfo:
    """Entities of a source (clause 5.2.8): of one of ``types``, and of this id, or with an id of this pattern."""

    types: frozenset[str]
    id: str | None = None
    id_pattern: str | None = None
    fits: Callable[[str], bool] | None = field(default=None, compare=False)
    """Whether an id is of the pattern: compiled once, since there may be thousands of patterns."""


@dataclass(frozen=True, slots=True)
class Information:
    """``entities`` without any: of every entity. ``attributes`` (IRIs) without any: every attribute."""

    entities: tuple[EntityInfo, ...] = ()
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Interval:
    """A TimeInterval; ``end`` None: open."""

    start: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A registration as matching and forwarding need it; names are IRIs. Times of ``management`` are in seconds."""

    id: str
    endpoint: str
    mode: Mode
    operations: frozenset[str]
    information: tuple[Information, ...]
    alias: str | None = None
    tenant: str | None = None
    source_info: tuple[tuple[str, Stored], ...] = ()
    datasets: frozenset[str] | None = None
    local_only: bool = False
    timeout_s: float | None = None
    cooldown_s: float | None = None
    expires_at: datetime | None = None
    observation_interval: Interval | None = None
    management_interval: Interval | None = None
    described: ExpandedEntity = field(default_factory=lambda: ExpandedEntity("", ()))
    """The source as an entity: its properties, geometries and scopes, for filters of sources."""

    @property
    def is_temporal(self) -> bool:
        """Whether it is about temporal evolutions, and then not about the latest state (clause 5.9.1)."""
        return self.observation_interval is not None or self.management_interval is not None

    def is_live(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at

    def info(self, key: str) -> str | None:
        """A value of ``contextSourceInfo``."""
        return next((plain(value) for name, value in self.source_info if name == key), None)


def read_registration(document: Document, registration_id: str) -> Registration:
    """Read a stored document. Raises :class:`BadRequestData` when members do not go together (4.3.6.3, 5.9.2.4)."""
    for name in ("endpoint", "information"):
        if name not in document:
            raise fault(name, "it is missing")
    management = document.get("management", {})
    registration = Registration(
        id=registration_id,
        endpoint=document["endpoint"],
        mode=Mode(document.get("mode", Mode.INCLUSIVE)),
        operations=operations_of(document.get("operations")),
        information=tuple(_information(stored) for stored in document["information"]),
        alias=document.get("contextSourceAlias"),
        tenant=document.get("tenant"),
        source_info=tuple((pair["key"], pair["value"]) for pair in document.get("contextSourceInfo", ())),
        datasets=frozenset(document["datasetId"]) if "datasetId" in document else None,
        local_only=management.get("localOnly", document.get("localOnly", False)),
        timeout_s=management["timeout"] / 1000 if "timeout" in management else None,
        cooldown_s=management["cooldown"] / 1000 if "cooldown" in management else None,
        expires_at=expiry(document),
        observation_interval=_interval(document, "observationInterval"),
        management_interval=_interval(document, "managementInterval"),
        described=_described(document, registration_id),
    )
    _check_mode(registration, document)
    return registration


def _check_mode(registration: Registration, document: Document) -> None:
    if registration.mode is Mode.EXCLUSIVE:
        for index, item in enumerate(registration.information):
            ids = [info.id for info in item.entities]
            if not ids or None in ids or not item.attributes:
                raise fault(
                    f"information[{index}]",
                    "an exclusive registration is about attributes of entities that it names by id (4.3.6.3)",
                )
    if registration.mode is Mode.AUXILIARY and not OF_AUXILIARY.issuperset(document.get("operations", ())):
        raise fault("operations", f"those of an auxiliary registration are of {', '.join(sorted(OF_AUXILIARY))}")


def _information(stored: Document) -> Information:
    return Information(
        tuple(_entity_info(item) for item in stored.get("entities", ())),
        frozenset((*stored.get("propertyNames", ()), *stored.get("relationshipNames", ()))),
    )


def _entity_info(stored: Document) -> EntityInfo:
    """An id takes precedence over a pattern."""
    entity_id = stored.get("id")
    pattern = None if entity_id else stored.get("idPattern")
    fits = compile_pattern(pattern).search if pattern is not None else None
    return EntityInfo(frozenset(stored["type"]), entity_id, pattern, fits)


def _interval(document: Document, name: str) -> Interval | None:
    if name not in document:
        return None
    stored = document[name]
    interval = Interval(parse_time(stored["startAt"]), parse_time(stored["endAt"]) if "endAt" in stored else None)
    if interval.end is not None and interval.end < interval.start:
        raise fault(name, "it ends before it starts")
    return interval


def _described(document: Document, registration_id: str) -> ExpandedEntity:
    attributes: Attributes = {iri: stored["instances"] for iri, stored in document.get("properties", {}).items()}
    for name in _AS_PROPERTIES:
        if name in document:
            attributes[NGSI_LD + name] = {NO_DATASET: {"type": "Property", "value": document[name]}}
    for name in GEOMETRIES:
        if name in document:
            attributes[NGSI_LD + name] = {NO_DATASET: {"type": "GeoProperty", "value": document[name]}}
    scopes = check_scopes(document["scope"]) if "scope" in document else ()
    return ExpandedEntity(registration_id, (), attributes, scopes)


def expiry(document: Document) -> datetime | None:
    """When the registration expires; None when it is perpetual."""
    return parse_time(document["expiresAt"]) if "expiresAt" in document else None


def check_expiry(document: Document, now: datetime) -> None:
    """Raise :class:`BadRequestData` when the document comes with an ``expiresAt`` in the past (5.9.2.4)."""
    expires_at = expiry(document)
    if expires_at is not None and expires_at <= now:
        raise BadRequestData(f"expiresAt: {document['expiresAt']} is in the past")


@dataclass(frozen=True, slots=True)
class RegistrationCounters:
    """What became of the requests to a source (Table 5.2.9-2)."""

    times_sent: int = 0
    times_failed: int = 0
    last_success: datetime | None = None
    last_failure: datetime | None = None

    def members(self) -> Mapping[str, Any]:
        """As clients see them; nothing before the first request."""
        if not self.times_sent:
            return {}
        shown: dict[str, Any] = {"timesSent": self.times_sent, "timesFailed": self.times_failed}
        for name, moment in (("lastSuccess", self.last_success), ("lastFailure", self.last_failure)):
            if moment is not None:
                shown[name] = to_text(moment)
        failed = self.last_failure is not None and (self.last_success is None or self.last_success < self.last_failure)
        return {**shown, "status": "failed" if failed else "ok"}


def represent_registration(
    document: Document, registration_id: str, counters: RegistrationCounters, terms: TermMap
) -> dict[str, Any]:
    """A registration as clients see it (clause 5.2.9), without ``@context``."""
    return {"id": registration_id, "type": TYPE, **compact_registration(document, terms), **counters.members()}
