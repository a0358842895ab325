# SPDX-License-Identifier: Apache-2.0
"""Asking the context sources that a request concerns, and putting their answers together (clauses 4.3.6 and 6.3.17).

What goes wrong with a source never fails a read: the rest is answered, and ``NGSILD-Warning`` tells of the source.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from starlette.requests import Request

from adapters.web.context_source import SourceClient, SourceUnreachable
from adapters.web.guarded_session import AnswerTooLarge, HttpAnswer
from api.http.json_bodies import parse_body
from api.http.negotiation import tenant_name
from api.hub import Hub
from api.routers.info import SourceIdentity
from broker.contexts.jsonld import TermMap
from broker.entities import ExpandedEntity
from broker.errors import Conflict, NgsiLdError
from broker.registrations.answers import documents_of, entity_of
from broker.registrations.matching import Share, SourceFilter, Wanted, shares_of, within
from broker.registrations.model import Mode, Registration
from broker.registrations.requests import Asking, Manner, SourceRequest, manner_of
from context_store.audiences.callers import current_caller

log = structlog.get_logger(__name__)

WARNING_HEADER: Final = "NGSILD-Warning"
_NO_ANSWER: Final = 199  # Table 6.3.17-1: no answer in time; a loop
_INVALID: Final = 111  # the answer is not valid
_REFUSED: Final = 299  # an error was answered
_NEXT: Final = re.compile(r'rel\s*=\s*"?next\b')
_UNWRITABLE: Final = re.compile(r'[^\x20-\x7e]|["\\]')
_LONGEST: Final = 200  # characters of the text of a warning
_LONGEST_RELAYED: Final = 1000  # characters of the warnings that a source gives


@dataclass(frozen=True, slots=True)
class Source:
    """A registration that a request concerns, and the parts of the request that are its own."""

    key: int
    registration: Registration
    shares: tuple[Share, ...]

    @property
    def is_partial(self) -> bool:
        """Whether it has some attributes of entities whose others are elsewhere."""
        return any(information.attributes for information in self.registration.information)


@dataclass(slots=True)
class Gathered:
    """What sources gave: entities of sources like the hub itself, those of auxiliary ones, and what went wrong."""

    entities: list[ExpandedEntity] = field(default_factory=list)
    supplements: list[ExpandedEntity] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


Keep = Callable[[ExpandedEntity], bool]
Plan = Callable[[Source, Manner], tuple[list[Asking], Keep | None]]
"""What a source is asked, and which of the entities it gives are kept (None: all)."""


class ContextSources:
    """The sources of this hub, as its registrations name them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._directory = hub.registrations
        self._client: SourceClient = hub.source_client
        self._identity = SourceIdentity(hub)
        self._max_entities = hub.settings.csource_max_entities
        self._resting: dict[str, float] = {}  # endpoint: until when it is left alone after a failure

    async def any_of(self, tenant_id: int) -> bool:
        """Whether the tenant has registrations at all, for staff: what every read asks first.

        What other brokers have is not kept from audiences here, so only staff gets it.
        """
        if not self._directory.is_loaded:
            await self._directory.refresh()
        return bool(self._directory.of(tenant_id)) and not current_caller().is_restricted

    async def matching(
        self,
        request: Request,
        tenant_id: int,
        wanted: Wanted,
        operations: frozenset[str],
        sources: SourceFilter | None = None,
    ) -> list[Source]:
        """Those that have a part of what is wanted and offer one of ``operations``."""
        if not await self.any_of(tenant_id):
            return []
        now = datetime.now(UTC)
        admits = (sources or SourceFilter()).admits
        passed = _passed(request)
        return [
            Source(key, registration, shares)
            for key, registration in self._directory.of(tenant_id).items()
            if not operations.isdisjoint(registration.operations)
            and registration.is_live(now)
            and (registration.alias is None or registration.alias not in passed)
            and admits(registration)
            and (shares := shares_of(registration, wanted))
        ]

    async def gather(self, request: Request, sources: Sequence[Source], terms: TermMap, plan: Plan) -> Gathered:
        """Ask all of ``sources`` at once; ``plan`` says what."""
        gathered = Gathered()
        alias = await self.alias(request)
        if alias in _passed(request):
            gathered.warnings.append(_warning(_NO_ANSWER, alias, "the request came back here: a loop of registrations"))
            return gathered
        answers = await asyncio.gather(*(self._ask(request, source, terms, alias, plan) for source in sources))
        for source, (entities, warnings) in zip(sources, answers, strict=True):
            auxiliary = source.registration.mode is Mode.AUXILIARY
            (gathered.supplements if auxiliary else gathered.entities).extend(entities)
            gathered.warnings += warnings
        return gathered

    async def _ask(
        self, request: Request, source: Source, terms: TermMap, alias: str, plan: Plan
    ) -> tuple[list[ExpandedEntity], list[str]]:
        """The entities of one source, and warnings: its own, and at most one about it."""
        warnings: list[str] = []
        try:
            manner = await self.manner(request, source.registration, terms)
            found: list[ExpandedEntity] = []
            askings, keep = plan(source, manner)
            for asking in askings:
                found += await self._pages(source, asking, manner, warnings, tenant_name(request))
            self.note(source, failed=False)
            return [entity for entity in found if keep is None or keep(entity)], warnings
        except SourceFailed as failure:
            if failure.counts:
                self.note(source, failed=True)
            log.warning("source_failed", registration=source.registration.id, reason=str(failure))
            return [], [*warnings, _warning(failure.code, alias, f"{source.registration.id}: {failure}")]

    async def not_asked(self, request: Request, tenant_id: int, operation: str) -> dict[str, str]:
        """The header of an answer that is this hub's alone although sources offer ``operation``."""
        if not await self.any_of(tenant_id) or request.query_params.get("local") == "true":
            return {}
        sources = await self.matching(request, tenant_id, Wanted(), frozenset({operation}))
        if not sources:
            return {}
        text = f"this is what the hub itself has; {len(sources)} context sources were not asked"
        return warning_header([_warning(_NO_ANSWER, await self.alias(request), text)])

    async def alias(self, request: Request) -> str:
        """The pseudonym of this hub for the tenant of the request."""
        return await self._identity.alias(tenant_name(request))

    async def came_back(self, request: Request) -> bool:
        """Whether the request has been here before: a loop of registrations."""
        return bool(_passed(request)) and await self.alias(request) in _passed(request)

    async def manner(self, request: Request, registration: Registration, terms: TermMap) -> Manner:
        """How a source is talked to about a request in ``terms``; raises :class:`SourceFailed`."""
        url = registration.info("jsonldContext")
        try:
            own = None if url is None else await self._hub.contexts.resolve(url, tenant_name(request))
        except NgsiLdError as error:
            raise SourceFailed(_NO_ANSWER, error.detail) from error
        via = ", ".join([*request.headers.getlist("via"), f"1.1 {await self.alias(request)}"])
        return manner_of(self._opened(registration), request.headers, terms, own, via)

    def _opened(self, registration: Registration) -> Registration:
        """With what it tells the source in clear; raises :class:`SourceFailed` where a key is missing."""
        try:
            opened = tuple((name, self._hub.sealer.open_one(one, name)) for name, one in registration.source_info)
        except Conflict as error:
            raise SourceFailed(_NO_ANSWER, error.detail) from error
        return replace(registration, source_info=opened)

    async def _pages(
        self, source: Source, asking: Asking, manner: Manner, warnings: list[str], tenant: str
    ) -> list[ExpandedEntity]:
        found: list[ExpandedEntity] = []
        offset = 0
        while True:
            answer = await self.send(source, asking.at(offset))
            if answer.status != 404 and not 200 <= answer.status < 300:
                raise SourceFailed(_REFUSED, f"it answers HTTP {answer.status}")
            if WARNING_HEADER.lower() in answer.headers:
                warnings.append(answer.headers[WARNING_HEADER.lower()][:_LONGEST_RELAYED])
            documents = [] if answer.status == 404 else self._documents(answer)
            for document in documents:
                entity = await self._entity(document, manner, tenant)
                part = within(entity, source.shares)
                if part is not None:
                    found.append(part)
            offset += len(documents)
            if asking.single or not documents or not _NEXT.search(answer.headers.get("link", "")):
                return found
            if offset >= self._max_entities:
                raise SourceFailed(_REFUSED, f"it has more than {self._max_entities} entities for this query")

    async def send(self, source: Source, request: SourceRequest) -> HttpAnswer:
        """The answer of a source, whatever its status; raises :class:`SourceFailed`."""
        registration = source.registration
        if time.monotonic() < self._resting.get(registration.endpoint, 0.0):
            raise SourceFailed(_NO_ANSWER, "it failed before and is left alone for a while", counts=False)
        try:
            return await self._client.ask(request, registration.timeout_s)
        except SourceUnreachable as error:
            raise SourceFailed(_NO_ANSWER, str(error)) from error
        except AnswerTooLarge as error:
            raise SourceFailed(_INVALID, str(error)) from error

    def _documents(self, answer: HttpAnswer) -> list[dict[str, Any]]:
        if not answer.body:
            return []
        try:
            return documents_of(parse_body(answer.body))
        except NgsiLdError as error:
            raise SourceFailed(_INVALID, error.detail) from error

    async def _entity(self, document: dict[str, Any], manner: Manner, tenant: str) -> ExpandedEntity:
        """One entity; an ``@context`` of its own says what its names mean, else that of the request to the source."""
        try:
            context = document.pop("@context", None)
            terms = manner.terms if context is None else await self._hub.contexts.resolve(context, tenant)
            return entity_of(document, terms)
        except NgsiLdError as error:
            raise SourceFailed(_INVALID, error.detail) from error

    def note(self, source: Source, *, failed: bool) -> None:
        """Remember what became of a request."""
        self._directory.note(source.key, datetime.now(UTC), failed=failed)
        registration = source.registration
        if failed and registration.cooldown_s is not None:
            self._resting[registration.endpoint] = time.monotonic() + registration.cooldown_s
        else:
            self._resting.pop(registration.endpoint, None)


class SourceFailed(Exception):
    """A source gave nothing; ``code`` is that of Table 6.3.17-1. ``counts``: it was asked at all."""

    def __init__(self, code: int, reason: str, *, counts: bool = True) -> None:
        super().__init__(reason)
        self.code = code
        self.counts = counts


def warning_header(warnings: Iterable[str]) -> dict[str, str]:
    """The header that tells of sources that gave nothing, if there are any."""
    told = list(dict.fromkeys(warnings))
    return {WARNING_HEADER: ", ".join(told)} if told else {}


def _warning(code: int, agent: str, text: str) -> str:
    """A warning value in the form of RFC 7234, section 5.5."""
    return f'{code} {agent} "{_UNWRITABLE.sub("_", text)[:_LONGEST]}"'


def _passed(request: Request) -> frozenset[str]:
    """The pseudonyms of brokers that the request came through (Via: ``1.1 alias``, clause 6.3.18)."""
    header = ",".join(request.headers.getlist("via"))
    if not header:
        return frozenset()
    return frozenset(words[1] for hop in header.split(",") if len(words := hop.split()) > 1)
