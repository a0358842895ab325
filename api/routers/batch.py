# SPDX-License-Identifier: Apache-2.0
"""``/entityOperations/create|upsert|update|merge|delete``: many entities at once (clauses 6.14 to 6.17 and 6.31)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import (
    body_context,
    content_type,
    created_tenant,
    existing_tenant,
    link_context,
    read_json,
    tenant_name,
)
from api.http.problem_details import UnacceptableRequest, problem
from api.hub import Hub
from api.ngsild.batches import Entry, Passed, pass_on
from api.ngsild.changes import DistributedChanges, Distribution
from api.ngsild.operation import DONE, Answer, operation
from api.ngsild.parameters import Parameters
from api.ngsild.resource import Resource
from api.ngsild.sources import ContextSources
from api.routers.bodies import attribute_iris
from broker.contexts.jsonld import TermMap, core_terms
from broker.entities import EntityChange, ExpandedEntity
from broker.errors import AlreadyExists, BadRequestData, InvalidRequest, NgsiLdError, ResourceNotFound
from broker.expansion import expand_entity, expand_fragment
from broker.operations import (
    SCOPE,
    UpdateOutcome,
    append_attributes,
    create_entity,
    delete_entity,
    existing,
    merge_entity,
    replace_entity,
    update_attributes,
)
from broker.validation import check_uri
from context_store.entities.batch import BatchItem, EntityBatch, Operation
from context_store.entities.store import EntityStore
from schemas.terms import JSON, JSON_LD

_NO_OVERWRITE: Final = "noOverwrite"
_REPLACE: Final = "replace"
_UPDATE: Final = "update"
_SOME: Final = Answer(207, "BatchOperationResult", (JSON,))
_CREATED: Final = (Answer(201, "EntityIds", (JSON,)), DONE, _SOME)

Reader = Callable[[str, dict[str, Any], TermMap], Operation]
"""Reads one entity of the array (its id, its members, the terms), and says what to do with it."""


@dataclass(slots=True)
class _Result:
    """A BatchOperationResult (clause 5.2.16) in the making; ``created`` are those ids that are new."""

    success: dict[str, None] = field(default_factory=dict)  # used as an ordered set
    created: dict[str, None] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, entity_id: Any, error: NgsiLdError) -> None:
        """Add a BatchEntityError (clause 5.2.17)."""
        self.errors.append({"entityId": entity_id, "error": problem(error)})

    def add(self, entity_id: str, outcome: EntityChange | UpdateOutcome | NgsiLdError) -> None:
        """Add what became of one item."""
        if isinstance(outcome, NgsiLdError):
            self.fail(entity_id, outcome)
        elif isinstance(outcome, UpdateOutcome) and outcome.not_updated:
            reasons = "; ".join(f"{entry.attribute}: {entry.reason}" for entry in outcome.not_updated)
            missing = all(entry.attribute == SCOPE for entry in outcome.not_updated)
            kind = ResourceNotFound if missing else AlreadyExists
            self.fail(entity_id, kind(f"Some attributes were not updated: {reasons}"))
        else:
            self.success[entity_id] = None
            change = outcome.change if isinstance(outcome, UpdateOutcome) else outcome
            if change.before is None:
                self.created[entity_id] = None

    def take(self, passed: Passed) -> None:
        """Add what became of the parts of sources: an entity is done when all of its parts are."""
        for entity_id, registration_id, told in passed.problems:
            self.errors.append({"entityId": entity_id, "registrationId": registration_id, "error": dict(told)})
        failed = {error["entityId"] for error in self.errors}
        self.success = {name: None for name in self.success | passed.made if name not in failed}
        self.created |= passed.created

    def answer(self) -> Response:
        """207 when something failed, 201 with the ids of new entities, else 204."""
        if self.errors:
            body = {"success": list(self.success), "errors": self.errors}
            return Response(orjson.dumps(body), 207, media_type=JSON)
        if self.created:
            return Response(orjson.dumps(list(self.created)), 201, media_type=JSON)
        return Response(status_code=204)


class EntityOperations:
    """The batch operations. An entity that cannot be processed is reported, and the others are processed."""

    def __init__(self, hub: Hub, store: EntityStore, sources: ContextSources) -> None:
        self._hub = hub
        self._changes = DistributedChanges(sources, store)
        self._batch = EntityBatch(hub.database, hub.terms, hub.history)

    @operation(body="EntityArray", answers=_CREATED, errors=())
    async def create(self, request: Request) -> Response:
        """Batch Entity Creation: implements 6.14.3.1."""
        Parameters(request)
        return await self._run(request, "create", _creation, created_tenant)

    @operation(("options",), options=(_REPLACE, _UPDATE), body="EntityArray", answers=_CREATED, errors=())
    async def upsert(self, request: Request) -> Response:
        """Batch Entity Creation or Update: implements 6.15.3.1."""
        options = Parameters(request).options()
        if len(options) > 1:
            raise BadRequestData(f"Only one of {_REPLACE} and {_UPDATE} can be given")
        reader = _creation_or_update if _UPDATE in options else _replacement
        return await self._run(request, "upsert", reader, created_tenant)

    @operation(("options",), options=(_NO_OVERWRITE,), body="EntityFragmentArray", answers=(DONE, _SOME))
    async def update(self, request: Request) -> Response:
        """Batch Entity Update: implements 6.16.3.1."""
        overwrite = _NO_OVERWRITE not in Parameters(request).options()
        return await self._run(request, "update", _addition(overwrite), existing_tenant)

    @operation(body="EntityFragmentArray", answers=(DONE, _SOME))
    async def merge(self, request: Request) -> Response:
        """Batch Entity Merge: implements 6.31.3.1."""
        Parameters(request)
        return await self._run(request, "merge", _merge, existing_tenant)

    @operation(body="EntityIds", uses_context=False, answers=(DONE, _SOME))
    async def delete(self, request: Request) -> Response:
        """Batch Entity Delete: implements 6.17.3.1."""
        Parameters(request)
        content_type(request)
        result, entries, terms = _Result(), [], core_terms()
        for given in await self._read_array(request):
            if not isinstance(given, str):
                raise BadRequestData("An entry of the array is not an entity id")
            try:
                entries.append((Entry(check_uri(given, "The entity id"), terms), _deletion(given)))
            except BadRequestData as error:
                result.fail(given, error)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        return await self._finish(request, tenant_id, "delete", entries, None, result)

    async def _run(
        self, request: Request, name: str, reader: Reader, find_tenant: Callable[[Request, Any], Awaitable[int]]
    ) -> Response:
        media_type = content_type(request)
        entities = await self._read_array(request)
        if media_type == JSON_LD and link_context(request) is not None:
            raise BadRequestData(
                f"A body of type {JSON_LD} carries its own @context; a Link header cannot name another"
            )
        result, entries = _Result(), []
        for given in entities:
            if not isinstance(given, dict):
                raise BadRequestData("An entry of the array is not an entity")
            try:
                entry = await self._read_entry(request, media_type, given)
                entries.append((entry, reader(entry.entity_id, dict(entry.body or {}), entry.terms)))
            except NgsiLdError as error:
                result.fail(given.get("id", given.get("@id")), error)
        return await self._finish(request, await find_tenant(request, self._hub.tenants), name, entries, reader, result)

    async def _read_entry(self, request: Request, media_type: str, given: dict[str, Any]) -> Entry:
        terms = await self._hub.contexts.resolve(body_context(request, media_type, given), tenant_name(request))
        entity_id = check_uri(given.get("id", given.get("@id")), "id")
        return Entry(entity_id, terms, {name: value for name, value in given.items() if name != "@context"})

    async def _read_array(self, request: Request) -> list[Any]:
        """The body: an array of at least one entry (clause 5.6.7.4), of no more than the hub's limit."""
        entries = await read_json(request, self._hub.settings.max_request_bytes)
        if not isinstance(entries, list) or not entries:
            raise BadRequestData("The body is not an array with at least one entry")
        most = self._hub.settings.batch_max_entities
        if len(entries) > most:
            refusal = problem(InvalidRequest(f"A batch has at most {most} entries; this one has {len(entries)}"))
            raise UnacceptableRequest(413, {**refusal, "status": 413})
        return entries

    async def _finish(
        self,
        request: Request,
        tenant_id: int,
        name: str,
        entries: Sequence[tuple[Entry, Operation]],
        reader: Reader | None,
        result: _Result,
    ) -> Response:
        """Do ``entries`` here and at the sources that have a part in them; ``reader`` reads what of them is ours."""
        if not await self._changes.applies(request, tenant_id):
            await self._run_here(tenant_id, [BatchItem(entry.entity_id, make) for entry, make in entries], result)
            return result.answer()
        items, shared = [], []
        for entry, make in entries:
            change = await self._shared(request, tenant_id, name, entry)
            if change is not None:
                shared.append((entry, change))
            here = make if change is None else _part_here(entry, change, make, reader)
            if here is not None:
                items.append(BatchItem(entry.entity_id, here))
        _, passed = await asyncio.gather(
            self._run_here(tenant_id, items, result),
            pass_on(self._changes, request, ("entityOperations", name), shared),
        )
        result.take(passed)
        return result.answer()

    async def _run_here(self, tenant_id: int, items: Sequence[BatchItem], result: _Result) -> None:
        outcomes = await self._batch.run(tenant_id, items) if items else []
        for item, outcome in zip(items, outcomes, strict=True):
            result.add(item.entity_id, outcome)

    async def _shared(self, request: Request, tenant_id: int, name: str, entry: Entry) -> Distribution | None:
        """How an entry is distributed; a body without a type is about the types that the entity has here."""
        body, terms = entry.body or {}, entry.terms
        given = body.get("type", body.get("@type", ()))
        types = [terms.expand_term(kind) for kind in ([given] if isinstance(given, str) else given)]
        names = attribute_iris(body, terms)
        return await self._changes.of(
            request, tenant_id, f"{name}Batch", entry.entity_id, types=types, attributes=names
        )


def _part_here(entry: Entry, change: Distribution, make: Operation, reader: Reader | None) -> Operation | None:
    """What the hub itself does with an entry that sources have a part in; None for nothing."""
    if entry.body is None or reader is None:
        return None if change.ours is None else make
    part = change.part_here(entry.body, entry.terms)
    return None if part is None else reader(entry.entity_id, part, entry.terms)


def batch_routes(hub: Hub, store: EntityStore, sources: ContextSources) -> list[Resource]:
    """The resources of batch operations."""
    operations = EntityOperations(hub, store, sources)
    return [
        Resource("/entityOperations/create", POST=operations.create),
        Resource("/entityOperations/upsert", POST=operations.upsert),
        Resource("/entityOperations/update", POST=operations.update),
        Resource("/entityOperations/merge", POST=operations.merge),
        Resource("/entityOperations/delete", POST=operations.delete),
    ]


def _creation(_id: str, body: dict[str, Any], terms: TermMap) -> Operation:
    entity = expand_entity(body, terms)
    return lambda stored, now: create_entity(stored, entity, now)


def _replacement(_id: str, body: dict[str, Any], terms: TermMap) -> Operation:
    entity = expand_entity(body, terms)
    return lambda stored, now: (
        create_entity(None, entity, now) if stored is None else replace_entity(stored, entity, now)
    )


def _creation_or_update(_id: str, body: dict[str, Any], terms: TermMap) -> Operation:
    """An update may remove attributes with NGSI-LD Nulls; a creation has to be a complete entity."""
    fragment = expand_fragment(body, terms, allow_null=True)

    def operation(stored: ExpandedEntity | None, now: datetime) -> EntityChange | UpdateOutcome:
        if stored is None:
            return create_entity(None, expand_entity(body, terms), now)
        return update_attributes(stored, fragment, now)

    return operation


def _addition(overwrite: bool) -> Reader:
    def read(entity_id: str, body: dict[str, Any], terms: TermMap) -> Operation:
        fragment = expand_fragment(body, terms)
        return lambda stored, now: append_attributes(existing(stored, entity_id), fragment, now, overwrite=overwrite)

    return read


def _merge(entity_id: str, body: dict[str, Any], terms: TermMap) -> Operation:
    fragment = expand_fragment(body, terms, partial=True)
    return lambda stored, now: merge_entity(existing(stored, entity_id), fragment, now)


def _deletion(entity_id: str) -> Operation:
    return lambda stored, _now: delete_entity(existing(stored, entity_id))
