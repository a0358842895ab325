# SPDX-License-Identifier: Apache-2.0
"""``entityMap``, ``entityMapLifetime`` and the header NGSILD-EntityMap of a request (clauses 5.5.14, 5.7.1, 5.7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request

from api.http.negotiation import public_url
from api.ngsild.paging import Page
from api.ngsild.parameters import Parameters
from api.ngsild.resource import location
from broker.entity_maps import EntityMap, parse_lifetime
from broker.history.temporal import TemporalQuery, WrittenForm
from broker.query import EntityQuery, Ordering
from context_store.entities.maps import MAX_ENTRIES, EntityMapStore
from context_store.entities.store import EntityPage, EntityStore
from context_store.history.temporal import TemporalPage, TemporalStore

ENTITY_MAP_HEADER: Final = "NGSILD-EntityMap"


@dataclass(frozen=True, slots=True)
class MapRequest:
    """``reference`` is the id of the map to use; ``wanted`` asks for one to be made."""

    reference: str | None = None
    wanted: bool = False
    lifetime: timedelta | None = None

    @property
    def in_use(self) -> bool:
        """Whether the answer comes out of a map: a reference that leads nowhere asks for a new one."""
        return self.wanted or self.reference is not None


def map_of_parameters(request: Request, parameters: Parameters) -> MapRequest:
    """What the URL and the header ask for; raises ``BadRequestData``."""
    lifetime = parameters.text("entityMapLifetime")
    return _map_request(request, parameters.flag("entityMap"), lifetime)


def map_of_body(request: Request, body: Mapping[str, Any]) -> MapRequest:
    """What a Query body and the header ask for; raises ``BadRequestData``."""
    return _map_request(request, body.get("entityMap", False), body.get("entityMapLifetime"))


def _map_request(request: Request, wanted: bool, lifetime: str | None) -> MapRequest:
    header = request.headers.get(ENTITY_MAP_HEADER)
    reference = unquote(header.strip().rstrip("/").rpartition("/")[2]) if header else None
    return MapRequest(reference, wanted, None if lifetime is None else parse_lifetime(lifetime))


def map_header(request: Request, entity_map: EntityMap) -> dict[str, str]:
    """The header that says where the map is."""
    return {ENTITY_MAP_HEADER: public_url(request) + location("entityMaps", entity_map.id)}


@dataclass(frozen=True, slots=True)
class MappedEntities:
    """Queries of entities that go through maps."""

    maps: EntityMapStore
    entities: EntityStore

    async def query(
        self, tenant_id: int, query: EntityQuery, ordering: Ordering | None, page: Page, asked: MapRequest
    ) -> tuple[EntityPage, EntityMap, bool]:
        """One page, the map it came from, and whether the map is new."""
        known = await self.maps.find(tenant_id, asked.reference) if asked.reference else None
        entity_map = known or await self.maps.create(tenant_id, query, ordering=ordering, lifetime=asked.lifetime)
        found = await self.maps.page(
            tenant_id, entity_map, query, limit=page.limit, offset=page.offset, count=page.count
        )
        stored = await self.entities.get_all(tenant_id, found.ids)
        entities = tuple(stored[entity_id] for entity_id in found.ids if entity_id in stored)
        return EntityPage(entities, found.more, found.total), entity_map, known is None


async def map_of_one(maps: EntityMapStore, tenant_id: int, entity_id: str, asked: MapRequest) -> EntityMap:
    """The map that a retrieval uses: the one referred to or, without it, a new one of this entity."""
    known = await maps.find(tenant_id, asked.reference) if asked.reference else None
    query = EntityQuery(ids=(entity_id,))
    return known or await maps.create_of(tenant_id, [entity_id], query, lifetime=asked.lifetime)


@dataclass(frozen=True, slots=True)
class EvolutionQuery:
    """A query of temporal evolutions: of which entities in which order, which time, and which attributes (IRIs)."""

    entities: EntityQuery
    query: TemporalQuery
    attributes: frozenset[str] | None
    ordering: Ordering | None

    async def run(
        self, history: TemporalStore, tenant_id: int, page: Page, *, form: WrittenForm | None = None
    ) -> TemporalPage:
        """One page of the answer; with ``form``, plain numbers may come as text."""
        return await history.query(
            tenant_id,
            self.entities,
            self.query,
            self.attributes,
            limit=page.limit,
            offset=page.offset,
            count=page.count,
            ordering=self.ordering,
            form=form,
        )


@dataclass(frozen=True, slots=True)
class MappedEvolutions:
    """Queries of temporal evolutions that go through maps."""

    maps: EntityMapStore
    history: TemporalStore

    async def create(self, tenant_id: int, asked: EvolutionQuery, lifetime: timedelta | None) -> EntityMap:
        """A map of the entities that have instances in the range now (clause 5.14.5)."""
        ids = await self.history.find_ids(
            tenant_id, asked.entities, asked.query, asked.attributes, most=MAX_ENTRIES, ordering=asked.ordering
        )
        return await self.maps.create_of(tenant_id, ids, asked.entities, lifetime=lifetime)

    async def query(
        self, tenant_id: int, asked: EvolutionQuery, page: Page, through: MapRequest
    ) -> tuple[TemporalPage, EntityMap, bool]:
        """One page, the map it came from, and whether the map is new."""
        known = await self.maps.find(tenant_id, through.reference) if through.reference else None
        entity_map = known or await self.create(tenant_id, asked, through.lifetime)
        ids = await self.maps.entity_ids(tenant_id, entity_map)
        if asked.entities.ids:
            ids = [entity_id for entity_id in ids if entity_id in asked.entities.ids]
        if not ids:
            return TemporalPage((), total=0 if page.count else None), entity_map, known is None
        mapped = replace(asked, entities=replace(asked.entities, ids=tuple(ids)))
        return await mapped.run(self.history, tenant_id, page), entity_map, known is None
