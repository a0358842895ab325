# SPDX-License-Identifier: Apache-2.0
"""The NGSI-LD API over HTTP (clause 6): its resources, as routes for the application."""

from __future__ import annotations

from api.hub import Hub
from api.ngsild.resource import Resource
from api.ngsild.sources import ContextSources
from api.routers.attributes import attribute_routes
from api.routers.batch import batch_routes
from api.routers.csource_registrations import csource_routes
from api.routers.discovery import discovery_routes
from api.routers.entities import entity_routes
from api.routers.entity_maps import entity_map_routes
from api.routers.info import info_routes
from api.routers.temporal import temporal_routes
from context_store.entities.maps import EntityMapStore
from context_store.entities.store import EntityStore
from context_store.history.temporal import TemporalStore


def ngsi_ld_routes(hub: Hub) -> list[Resource]:
    """All routes of entities, attributes and their temporal evolution on ``hub``."""
    entities = EntityStore(hub.database, hub.terms, hub.history)
    maps = EntityMapStore(hub.database)
    history = TemporalStore(hub.database, hub.terms, max_instances=hub.settings.temporal_max_instances)
    sources = ContextSources(hub)
    return [
        *entity_routes(hub, entities, maps, sources),
        *attribute_routes(hub, entities, sources),
        *batch_routes(hub, entities, sources),
        *csource_routes(hub, entities),
        *discovery_routes(hub, sources),
        *info_routes(hub),
        *entity_map_routes(hub, maps, history),
        *temporal_routes(hub, history, maps),
    ]
