# SPDX-License-Identifier: Apache-2.0
"""Changes of entities that context sources have a part in (clauses 4.3.6.2, 4.3.6.3, 5.6 and 6.3.17).

A change of one entity is passed on to every source that registered the operation, each with its part, and made here as
far as the hub may hold it. All parts are made whatever becomes of the others, and the answer tells of each that failed.
Batches go the same way (:mod:`api.ngsild.batches`). Purges are not passed on: what a source has a part in is refused,
so that here and there never differ without a word. ``local=true`` makes any change here alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response

from adapters.web.guarded_session import HttpAnswer
from api.http.problem_details import UnacceptableRequest, problem
from api.ngsild.sources import ContextSources, Source, SourceFailed
from broker.contexts.jsonld import TermMap
from broker.errors import (
    AlreadyExists,
    BadRequestData,
    Conflict,
    InternalError,
    NgsiLdError,
    OperationNotSupported,
    ResourceNotFound,
)
from broker.query import EntitySelector, TypeTree, parse_types
from broker.query.types import types_text
from broker.registrations.changes import (
    Territory,
    change_request,
    has_attributes,
    of_hub,
    of_source,
    renamed,
    renamed_attribute,
)
from broker.registrations.matching import Wanted, any_type
from broker.registrations.model import Mode
from broker.registrations.operations import OPERATIONS
from broker.registrations.requests import Manner
from context_store.entities.store import EntityStore
from schemas.terms import JSON

log = structlog.get_logger(__name__)

_LOCALLY: Final = "local=true makes the change here alone"
_LOOP: Final = 508
_BAD_GATEWAY: Final = 502
_TIMEOUT: Final = 504
_KINDS: Final = {400: BadRequestData, 404: ResourceNotFound, 409: AlreadyExists, 422: OperationNotSupported}
Problem = Mapping[str, Any]
Local = Callable[[], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Who makes which part of a change: ``sources`` theirs, the hub what is ``ours`` (None: nothing).

    ``refusals`` tell of parts that nobody makes, by registration.
    """

    operation: str
    entity_id: str
    sources: Sequence[Source]
    ours: Territory | None
    refusals: Mapping[str, Problem]

    def part_here(self, body: Mapping[str, Any], terms: TermMap) -> dict[str, Any] | None:
        """What of an entity or a fragment the hub itself writes; None when that is nothing."""
        if self.ours is None:
            return None
        part = self.ours.part(body, terms)
        return None if has_attributes(body) and not has_attributes(part) else part

    def is_here(self, attribute: str) -> bool:
        """Whether the hub itself changes this attribute."""
        return self.ours is not None and self.ours.covers(attribute)


class DistributedChanges:
    """Finds the sources that a change concerns, and passes it on."""

    def __init__(self, sources: ContextSources, store: EntityStore) -> None:
        self._sources = sources
        self._store = store

    async def applies(self, request: Request, tenant_id: int) -> bool:
        """Whether there is anything to look for: most tenants have no registrations."""
        return await self._sources.any_of(tenant_id) and request.query_params.get("local") != "true"

    async def of(
        self,
        request: Request,
        tenant_id: int,
        operation: str,
        entity_id: str,
        *,
        types: TypeTree | Collection[str] | None = None,
        attributes: Iterable[str] = (),
    ) -> Distribution | None:
        """How a change of one entity is distributed; None when it is the hub's alone, as it is in most tenants.

        ``types`` are a selection, or those of the entity; without them, those that the entity has here. ``attributes``
        are those that the change is about, if not all.
        """
        if not await self.applies(request, tenant_id):
            return None
        if not types:
            held = await self._store.get_all(tenant_id, [entity_id])
            types = held[entity_id].types if held else None
        selector = EntitySelector((entity_id,), None, any_type(types) if isinstance(types, Collection) else types)
        concerned = await self._concerned(request, tenant_id, operation, Wanted((selector,), frozenset(attributes)))
        if not concerned:
            return None
        proxied = [source for source in concerned if source.registration.mode.is_proxied]
        looped = await self._sources.came_back(request)
        asked = [] if looped else [source for source in concerned if operation in source.registration.operations]
        refusals = {
            source.registration.id: _loop(source) if looped else problem(_not_taken(source, operation))
            for source in proxied
            if looped or source not in asked
        }
        ours = of_hub(share for source in proxied for share in source.shares)
        return Distribution(operation, entity_id, asked, ours, refusals)

    async def _concerned(self, request: Request, tenant_id: int, operation: str, wanted: Wanted) -> list[Source]:
        """Sources that make a part of the change, or hold what it is about; auxiliary ones never do."""
        return [
            source
            for source in await self._sources.matching(request, tenant_id, wanted, OPERATIONS)
            if source.registration.mode is not Mode.AUXILIARY
            and (source.registration.mode.is_proxied or operation in source.registration.operations)
        ]

    async def refusal(self, request: Request, tenant_id: int, operation: str, wanted: Wanted) -> NgsiLdError | None:
        """Why a change that is not passed on cannot be made here alone; None when no source has a part in it.

        :class:`OperationNotSupported` when it is for a source to make, too; :class:`Conflict` when what it is about is
        held by a source that does not take it.
        """
        for source in await self._concerned(request, tenant_id, operation, wanted):
            if operation in source.registration.operations:
                return OperationNotSupported(
                    f"{operation} is also for the source of registration {source.registration.id}, and the hub does "
                    f"not pass it on; {_LOCALLY}"
                )
            return _not_taken(source, operation)
        return None

    async def make(
        self,
        request: Request,
        change: Distribution,
        terms: TermMap,
        segments: Sequence[str],
        local: Local | None,
        *,
        done: Response | None = None,
        body: Mapping[str, Any] | None = None,
        attribute: Any = None,
    ) -> Response:
        """Make all parts of ``change``: ``done`` (204) when they succeed, else what went wrong (clause 6.3.17).

        ``segments`` are the path of the resource. ``body`` is an entity or a fragment, of which each source gets its
        part; ``attribute`` that of a single attribute. ``local`` makes the part of the hub, if there is one.
        """
        parties = [source for source in change.sources if body is None or part_of(source, body, terms) is not None]
        passing = (self._pass_on(request, source, terms, segments, body, attribute) for source in parties)
        here = [] if local is None else [_locally(local)]
        results = await asyncio.gather(*here, *passing)
        names = [*([None] if local is not None else []), *(source.registration.id for source in parties)]
        outcomes = [*zip(names, results, strict=True), *change.refusals.items()]
        return _answer(change.entity_id, outcomes, done or Response(status_code=204))

    async def _pass_on(
        self,
        request: Request,
        source: Source,
        terms: TermMap,
        segments: Sequence[str],
        body: Mapping[str, Any] | None,
        attribute: Any,
    ) -> Problem | Response:
        """What became of the part of a source."""
        part = None if body is None else part_of(source, body, terms)
        outcome = await self.send(request, source, terms, segments, part, attribute)
        if not isinstance(outcome, HttpAnswer):
            return outcome
        if outcome.status == 207:
            self._sources.note(source, failed=True)
            return _source_problem(source.registration.id, outcome)
        return Response(status_code=outcome.status)

    async def send(
        self,
        request: Request,
        source: Source,
        terms: TermMap,
        segments: Sequence[str],
        payload: Any,
        attribute: Any = None,
    ) -> Problem | HttpAnswer:
        """Pass a request on in the names of the source: a successful answer, 207 included, or what went wrong.

        ``payload`` is an entity, a fragment, or a list of them or of ids.
        """
        registration = source.registration
        try:
            manner = await self._sources.manner(request, registration, terms)
            body, path = payload if attribute is None else attribute, segments
            if manner.terms is not terms:
                if attribute is not None:
                    body = renamed_attribute(attribute, terms, manner.terms, fragment=True)
                elif isinstance(payload, list):
                    body = [
                        renamed(item, terms, manner.terms) if isinstance(item, Mapping) else item for item in payload
                    ]
                elif payload is not None:
                    body = renamed(payload, terms, manner.terms)
                if len(segments) > 3:
                    path = (*segments[:3], _renamed(segments[3], terms, manner))
            parameters = _parameters(request, terms, manner)
            answer = await self._sources.send(
                source, change_request(registration, request.method, path, parameters, body, manner)
            )
        except SourceFailed as failure:
            if failure.counts:
                self._sources.note(source, failed=True)
            log.warning("source_failed", registration=registration.id, reason=str(failure))
            return _problem(InternalError, _TIMEOUT, f"{registration.id}: {failure}")
        failed = not 200 <= answer.status < 300
        self._sources.note(source, failed=failed)
        return _source_problem(registration.id, answer) if failed else answer


async def _locally(local: Local) -> Problem | Response:
    try:
        return await local()
    except NgsiLdError as error:
        return problem(error)


def _answer(entity_id: str, outcomes: Sequence[tuple[str | None, Problem | Response]], done: Response) -> Response:
    """``done``, the one error there is, or 207 with a BatchOperationResult (clauses 5.2.16 and 5.2.17)."""
    errors: list[dict[str, Any]] = []
    partial: Response | None = None
    for registration_id, outcome in outcomes:
        if not isinstance(outcome, Response):
            told = {} if registration_id is None else {"registrationId": registration_id}
            errors.append({"entityId": entity_id, **told, "error": dict(outcome)})
        elif outcome.status_code == 207:
            partial = outcome
    if not errors:
        return partial or done
    if partial is not None:
        some = problem(Conflict("The hub itself changed some of the attributes only"))
        errors.append({"entityId": entity_id, "error": some})
    if len(outcomes) == 1:
        error = errors[0]["error"]
        raise UnacceptableRequest(error["status"], error)
    success = [entity_id] if len(errors) < len(outcomes) else []
    return Response(orjson.dumps({"success": success, "errors": errors}), 207, media_type=JSON)


def part_of(source: Source, body: Mapping[str, Any], terms: TermMap) -> dict[str, Any] | None:
    """What of ``body`` is for a source; None when that is nothing."""
    part = of_source(source.shares).part(body, terms)
    return part if has_attributes(part) or not source.is_partial else None


def _renamed(attribute: str, terms: TermMap, manner: Manner) -> str:
    return manner.terms.compact_iri(terms.expand_term(attribute))


def _renamed_entry(entry: Any, terms: TermMap, manner: Manner) -> Any:
    """An entry of a batch: an entity, a fragment, or an id."""
    return renamed(entry, terms, manner.terms) if isinstance(entry, Mapping) else entry


def _parameters(request: Request, terms: TermMap, manner: Manner) -> dict[str, str]:
    parameters = dict(request.query_params)
    if "type" in parameters and manner.terms is not terms:
        tree = parse_types(parameters["type"], terms.expand_term)
        parameters["type"] = "*" if tree is None else types_text(tree, manner.terms.compact_iri)
    return parameters


def _not_taken(source: Source, operation: str) -> Conflict:
    registration = source.registration
    return Conflict(
        f"What {operation} is about is held by the source of registration {registration.id} ({registration.mode}), "
        f"which does not take it from here; {_LOCALLY}"
    )


def _loop(source: Source) -> Problem:
    return _problem(InternalError, _LOOP, f"The change came back here: {source.registration.id} is part of a loop")


def _source_problem(registration_id: str, answer: HttpAnswer) -> Problem:
    """What a source answered instead of success; an answer of no kind that the hub knows is a bad gateway."""
    kind = _KINDS.get(answer.status, InternalError)
    status = answer.status if answer.status in _KINDS or answer.status == _LOOP else _BAD_GATEWAY
    return _problem(kind, status, f"{registration_id}: it answers HTTP {answer.status}")


def _problem(kind: type[NgsiLdError], status: int, detail: str) -> Problem:
    return {**problem(kind(detail)), "status": status}
