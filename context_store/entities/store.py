# SPDX-License-Identifier: Apache-2.0
"""Reading and changing entities for the NGSI-LD API.

A change locks the entity, lets a pure operation of :mod:`broker.operations` decide, and writes what it decided:
current state, history and change event together. Requests that come while the database is busy are gathered: gets
into one statement, changes into one transaction, in which each is still for itself. Entities that have expired are
there no longer, whether or not they have been collected yet (clause 4.5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

import psycopg

from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData, Conflict, ResourceNotFound, StoreUnavailable, TooComplexQuery
from broker.expiry import is_expired, without_expired
from broker.operations import UpdateOutcome, create_entity, existing
from broker.query import EntityQuery, Ordering, TypeTree, matches
from context_store.arrays import texts
from context_store.compiled import Statement, to_psycopg
from context_store.database import Database
from context_store.entities.batch import REFUSED, BatchItem, EntityBatch
from context_store.entities.batch import Outcome as BatchOutcome
from context_store.entities.changes import GET, from_row, get_entities, utc_now
from context_store.entities.gathering import Gathering
from context_store.entities.type_pages import is_walk, select_page
from context_store.history.partitions import Partitions
from context_store.history.terms import TermIds
from context_store.queries.ordering import Collations
from context_store.queries.statements import ANY_TENANT, ANY_TIME, ENTITY_COLUMNS, count_entities, select_entities
from context_store.queries.templates import Template, shape_of

Outcome = TypeVar("Outcome", EntityChange, UpdateOutcome)

_MOST_GETS: Final = 128  # in one statement
_MOST_CHANGES: Final = 64  # in one transaction: others wait for its locks
_WORTH: Final = 16  # items for a batch beside another
_SHARE: Final = 32  # of changes: smaller batches cost more than is won by working side by side with PostgreSQL
_LANES: Final = 2  # of each: with one the process waits while PostgreSQL works; with three the batches are too small
_MOST_SHAPES: Final = 2048  # of queries, kept as statements of a few kilobytes each
_COLUMNS: Final = ("entity_key", *ENTITY_COLUMNS)


@dataclass(frozen=True, slots=True)
class EntityPage:
    """Entities in the order asked for, else by id; ``more`` when others follow; ``total`` when it was asked for."""

    entities: tuple[ExpandedEntity, ...]
    more: bool
    total: int | None = None


class EntityStore:
    """The entities of all tenants. ``clock`` gives the time that is written; it is asked while the lock is held."""

    def __init__(
        self, database: Database, terms: TermIds, history: Partitions, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._clock = clock
        self._collations = Collations(database)
        self._batch = EntityBatch(database, terms, history, clock=clock)
        self._gets = Gathering(self._get_gathered, most=_MOST_GETS, lanes=_LANES, worth=_WORTH)
        self._changes = Gathering(self._change_gathered, most=_MOST_CHANGES, lanes=_LANES, worth=_WORTH, share=_SHARE)

    async def create(self, tenant_id: int, entity: ExpandedEntity) -> None:
        """Clause 5.6.1; raises :class:`~broker.errors.AlreadyExists`."""
        await self._do(tenant_id, entity.id, lambda stored, now: create_entity(stored, entity, now), ())

    async def change(
        self,
        tenant_id: int,
        entity_id: str,
        operation: Callable[[ExpandedEntity, datetime], Outcome],
        *,
        types: TypeTree | None = None,
        attributes: Iterable[str] | None = None,
    ) -> Outcome:
        """Do ``operation`` (of the stored entity and the time) to one entity, and write what it makes of it.

        ``attributes`` are all that the operation looks at; it may find the entity without any others. Raises
        :class:`ResourceNotFound` when there is no such entity or its types do not match ``types``.
        """

        def changed(stored: ExpandedEntity | None, now: datetime) -> Outcome:
            return operation(_matching(stored, entity_id, types), now)

        return await self._do(tenant_id, entity_id, changed, attributes)

    async def _do(
        self,
        tenant_id: int,
        entity_id: str,
        operation: Callable[[ExpandedEntity | None, datetime], Outcome],
        attributes: Iterable[str] | None,
    ) -> Outcome:
        item = BatchItem(entity_id, operation, None if attributes is None else frozenset(attributes))
        with store_refusals():
            outcome: Any = await self._changes.ask(tenant_id, item)
        done: Outcome = outcome
        return done

    async def _change_gathered(self, tenant_id: int, items: Sequence[BatchItem]) -> Sequence[BatchOutcome | Exception]:
        try:
            return await self._batch.run(tenant_id, items)
        except (StoreUnavailable, Conflict):
            raise
        except Exception:
            if len(items) == 1:
                raise
            return [await self._change_alone(tenant_id, item) for item in items]  # only one of them is to blame

    async def _change_alone(self, tenant_id: int, item: BatchItem) -> BatchOutcome | Exception:
        try:
            return (await self._batch.run(tenant_id, [item]))[0]
        except Exception as error:  # noqa: BLE001 - for whoever asked
            return error

    async def get(self, tenant_id: int, entity_id: str, *, types: TypeTree | None = None) -> ExpandedEntity:
        """One entity; raises :class:`ResourceNotFound`."""
        with store_refusals():
            stored = await self._gets.ask(tenant_id, entity_id)
        return _selected(stored, entity_id, types, self._clock())

    async def _get_gathered(self, tenant_id: int, ids: Sequence[str]) -> Sequence[ExpandedEntity | None]:
        bound = GET.of({"tenant_id": tenant_id, "ids": texts(ids)})
        rows = await self._database.read_at_once(tenant_id, bound)
        found = {stored.entity.id: stored.entity for stored in map(from_row, rows)}
        return [found.get(name) for name in ids]

    async def get_all(self, tenant_id: int, ids: Collection[str]) -> dict[str, ExpandedEntity]:
        """Those entities of ``ids`` that there are, by id."""
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                found = await get_entities(connection, tenant_id, ids)
        now = self._clock()
        return {
            name: without_expired(stored.entity, now)
            for name, stored in found.items()
            if not is_expired(stored.entity, now)
        }

    async def query(
        self,
        tenant_id: int,
        query: EntityQuery,
        *,
        ordering: Ordering | None = None,
        limit: int,
        offset: int = 0,
        count: bool = False,
    ) -> EntityPage:
        """One page of the entities that match; ``limit`` may be 0 when only the ``count`` is wanted."""
        if ordering is not None:
            await self._collations.ensure(ordering.collation)
        now = self._clock()
        changing = {
            "tenant_id": tenant_id,
            "now": now,
            "limit": limit + 1,
            "offset": offset,
            "reach": limit + 1 + offset,
        }
        rows: list[tuple[Any, ...]] = []
        total = None
        shape, slots = shape_of(query)
        with store_refusals():
            if limit:
                template = _page_template(shape, ordering)
                rows = await self._database.read_built(
                    tenant_id, template.text, template.filled(slots, changing), plan_once=is_walk(query, ordering)
                )
            if count:
                template = _count_template(shape)
                ((total,),) = await self._database.read_built(
                    tenant_id, template.text, template.filled(slots, changing)
                )
        entities = tuple(without_expired(from_row(row).entity, now) for row in rows[:limit])
        return EntityPage(entities, len(rows) > limit > 0, total)


@lru_cache(maxsize=_MOST_SHAPES)
def _page_template(shape: EntityQuery, ordering: Ordering | None) -> Template:
    """A page; tenant, time and page are still to be set, as are the slots of the shape."""
    page: Statement
    if ordering is None:
        page = select_page(shape, tenant_id=ANY_TENANT, limit=0, columns=_COLUMNS, now=ANY_TIME)
    else:
        page = select_entities(shape, tenant_id=ANY_TENANT, limit=0, ordering=ordering, columns=_COLUMNS, now=ANY_TIME)
    return Template(*to_psycopg(page))


@lru_cache(maxsize=_MOST_SHAPES)
def _count_template(shape: EntityQuery) -> Template:
    return Template(*to_psycopg(count_entities(shape, tenant_id=ANY_TENANT, now=ANY_TIME)))


def _selected(stored: ExpandedEntity | None, entity_id: str, types: TypeTree | None, now: datetime) -> ExpandedEntity:
    """The entity without what has expired."""
    live = None if stored is None or is_expired(stored, now) else without_expired(stored, now)
    return _matching(live, entity_id, types)


def _matching(stored: ExpandedEntity | None, entity_id: str, types: TypeTree | None) -> ExpandedEntity:
    entity = existing(stored, entity_id)
    if types is not None and not matches(entity, EntityQuery(types=types)):
        raise ResourceNotFound(f"Entity {entity_id} does not exist with such a type")
    return entity


class StoreRefusals:
    """Turns what PostgreSQL refuses because of the request and not of the hub into the request's errors."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, exc: BaseException | None, _traceback: object) -> None:
        if isinstance(exc, psycopg.errors.QueryCanceled):
            raise TooComplexQuery("The query takes too long") from exc
        if isinstance(exc, REFUSED):
            reason = exc.diag.message_primary or str(exc)
            raise BadRequestData(f"The request has a value that cannot be stored: {reason}") from exc


_REFUSALS: Final = StoreRefusals()


def store_refusals() -> StoreRefusals:
    """What PostgreSQL refuses because of the request and not of the hub."""
    return _REFUSALS
