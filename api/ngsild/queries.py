# SPDX-License-Identifier: Apache-2.0
"""Queries of entities as requests give them: URL parameters (6.4.3.2) or a Query body (5.2.23), one model of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from api.ngsild.parameters import Parameters
from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData
from broker.history.temporal import TemporalQuery, temporal_query
from broker.query import (
    EntityQuery,
    EntitySelector,
    GeoQuery,
    Ordering,
    QueryTree,
    attribute_names,
    linked_depth,
    parse_geo,
    parse_id_pattern,
    parse_ids,
    parse_ordering,
    parse_q,
    parse_scopes,
    parse_types,
)
from broker.registrations.requests import Filters
from broker.validation import check_time
from schemas.terms import NGSI_LD

FILTER_PARAMETERS: Final = frozenset(
    ("id", "idPattern", "type", "q", "georel", "geometry", "coordinates", "geoproperty", "scopeQ", "csf",
     "expandValues", "jsonKeys", "splitEntities")
)  # fmt: skip
"""What selects entities; ``csf`` and ``splitEntities`` are about the context sources that are asked (5.7.2.4)."""
_MEMBERS: Final[dict[str, type | tuple[type, ...]]] = {
    "type": str, "entities": list, "q": str, "geoQ": dict, "scopeQ": str, "attrs": list, "pick": list, "omit": list,
    "lang": str, "datasetId": (list, str), "expandValues": (list, str), "jsonKeys": (list, str), "csf": str,
    "splitEntities": bool, "join": str, "joinLevel": int, "containedBy": list, "entityMap": bool,
    "entityMapLifetime": str, "ordering": dict, "temporalQ": dict, "aggrParams": dict,
}  # fmt: skip
_TEMPORAL_MEMBERS: Final = ("temporalQ", "aggrParams")
_TEMPORAL_QUERY: Final[dict[str, type | tuple[type, ...]]] = {
    "timerel": str, "timeAt": str, "endTimeAt": str, "timeproperty": str, "lastN": int,
}  # fmt: skip
_ORDERING: Final[dict[str, type]] = {"orderBy": list, "coordinates": list, "geometry": str, "collation": str}
_SYSTEM_ATTRIBUTES: Final = frozenset(
    NGSI_LD + name for name in ("createdAt", "modifiedAt", "deletedAt", "expiresAt", "observedAt")
)


@dataclass(frozen=True, slots=True)
class QueryInput:
    """What a request asks for, as text: names are not expanded and nothing is parsed."""

    ids: str | None = None
    id_pattern: str | None = None
    types: str | None = None
    selectors: tuple[Mapping[str, Any], ...] = ()
    q: str | None = None
    expand_values: tuple[str, ...] = ()
    json_keys: tuple[str, ...] = ()
    georel: str | None = None
    geometry: str | None = None
    coordinates: str | list[Any] | None = None
    geoproperty: str | None = None
    scope_q: str | None = None
    order_by: str | tuple[str, ...] | None = None
    order_from: str | list[Any] | None = None
    order_geometry: str | None = None
    collation: str | None = None
    csf: str | None = None
    split: bool | None = None
    local: bool | None = None

    @property
    def is_local(self) -> bool:
        """Whether no context source is to be asked; ``*`` as the type implies it (Table 6.4.3.2-1)."""
        return bool(self.local) or "*" in (self.types, *(selector.get("type") for selector in self.selectors))


def query_of_parameters(parameters: Parameters) -> QueryInput:
    """The query of a GET."""
    return QueryInput(
        ids=parameters.text("id"),
        id_pattern=parameters.text("idPattern"),
        types=parameters.text("type"),
        q=parameters.text("q"),
        expand_values=parameters.names("expandValues"),
        json_keys=parameters.names("jsonKeys"),
        georel=parameters.text("georel"),
        geometry=parameters.text("geometry"),
        coordinates=parameters.text("coordinates"),
        geoproperty=parameters.text("geoproperty"),
        scope_q=parameters.text("scopeQ"),
        order_by=parameters.text("orderBy"),
        order_from=parameters.text("orderFrom"),
        order_geometry=parameters.text("orderGeometry"),
        collation=parameters.text("collation"),
        csf=parameters.text("csf"),
        split=parameters.flag("splitEntities") if "splitEntities" in parameters else None,
        local=read_local(parameters),
    )


def check_query_body(body: Mapping[str, Any], *, temporal: bool = False) -> None:
    """Raise ``BadRequestData`` unless ``body`` is a Query (clause 5.2.23) with members of the right types."""
    if body.get("type") != "Query":
        raise BadRequestData('A query needs "type": "Query"')
    for name, value in body.items():
        if name not in _MEMBERS:
            raise BadRequestData(f"{name!r} is not a member of a Query")
        if not isinstance(value, _MEMBERS[name]):
            raise BadRequestData(f"Member {name!r} of the Query has a value of the wrong type")
        if isinstance(value, list) and (
            not value or (name != "entities" and not all(isinstance(v, str) for v in value))
        ):
            raise BadRequestData(f"Member {name!r} of the Query is empty or has an entry of the wrong type")
    for name in _TEMPORAL_MEMBERS:
        if name in body and not temporal:
            raise BadRequestData(f"Member {name!r} is for queries of temporal evolutions")


def _is_filled(value: Any, kind: type) -> bool:
    """Whether ``value``, if it is a list, has entries, all of ``kind``."""
    return not isinstance(value, list) or (bool(value) and all(isinstance(item, kind) for item in value))


def read_local(parameters: Parameters) -> bool | None:
    """Whether the operation is limited to this broker (clause 5.5.13); None when the request does not say."""
    return parameters.flag("local") if "local" in parameters else None


def query_of_body(body: Mapping[str, Any], local: bool | None) -> QueryInput:
    """The query of a POST; :func:`check_query_body` has passed."""
    geo: Mapping[str, Any] = body.get("geoQ", {})
    for name in ("georel", "geometry", "geoproperty"):
        if not isinstance(geo.get(name, ""), str):
            raise BadRequestData(f"Member {name!r} of geoQ is not a text")
    if not isinstance(geo.get("coordinates", ""), str | list):
        raise BadRequestData("Member 'coordinates' of geoQ is not a list")
    ordering = _ordering_of_body(body.get("ordering", {}))
    return QueryInput(
        selectors=tuple(body.get("entities", ())),
        q=body.get("q"),
        expand_values=text_list(body.get("expandValues")),
        json_keys=text_list(body.get("jsonKeys")),
        georel=geo.get("georel"),
        geometry=geo.get("geometry"),
        coordinates=geo.get("coordinates"),
        geoproperty=geo.get("geoproperty"),
        scope_q=body.get("scopeQ"),
        order_by=tuple(ordering["orderBy"]) if "orderBy" in ordering else None,
        order_from=ordering.get("coordinates"),
        order_geometry=ordering.get("geometry"),
        collation=ordering.get("collation"),
        csf=body.get("csf"),
        split=body.get("splitEntities"),
        local=local,
    )


def _ordering_of_body(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The OrderingParams of clause 5.2.43, with members of the right types."""
    for name, value in given.items():
        if name not in _ORDERING:
            raise BadRequestData(f"{name!r} is not a member of ordering")
        if not isinstance(value, _ORDERING[name]) or (name == "orderBy" and not _is_filled(value, str)):
            raise BadRequestData(f"Member {name!r} of ordering has a value of the wrong type")
    return given


def filters_of(given: QueryInput) -> Filters:
    """The filters as they are passed on to context sources."""
    place = given.coordinates
    texts = {
        "q": given.q,
        "expandValues": ",".join(given.expand_values),
        "jsonKeys": ",".join(given.json_keys),
        "georel": given.georel,
        "geometry": given.geometry,
        "coordinates": orjson.dumps(place).decode() if isinstance(place, list) else place,
        "geoproperty": given.geoproperty,
        "scopeQ": given.scope_q,
    }
    filled = {name: text for name, text in texts.items() if text}
    return Filters(filled, needs_context="q" in filled or "geoproperty" in filled)


def requested_order(given: QueryInput, terms: TermMap) -> Ordering | None:
    """The order of clause 4.23, None when none is asked for; raises ``BadRequestData``."""
    if given.order_by is None:
        if (given.order_from, given.order_geometry, given.collation) != (None, None, None):
            raise BadRequestData("orderFrom, orderGeometry and collation need an orderBy")
        return None
    return parse_ordering(
        given.order_by,
        terms.expand_term,
        collation=given.collation,
        geometry=given.order_geometry,
        coordinates=given.order_from,
    )


def temporal_of_body(given: Mapping[str, Any], datasets: frozenset[str] | None) -> TemporalQuery:
    """The TemporalQuery of clause 5.2.21, without its aggregation; raises ``BadRequestData``."""
    for name, value in given.items():
        if name not in _TEMPORAL_QUERY:
            raise BadRequestData(f"{name!r} is not a member of a TemporalQuery")
        if not isinstance(value, _TEMPORAL_QUERY[name]) or isinstance(value, bool):
            raise BadRequestData(f"Member {name!r} of the TemporalQuery has a value of the wrong type")
    if given.get("lastN", 1) < 1:
        raise BadRequestData("lastN is a whole number of at least 1")
    times = {name: check_time(given[name], name) for name in ("timeAt", "endTimeAt") if name in given}
    return temporal_query(
        timerel=given.get("timerel"),
        time_at=times.get("timeAt"),
        end_time_at=times.get("endTimeAt"),
        time_property=given.get("timeproperty"),
        last_n=given.get("lastN"),
        datasets=datasets,
    )


def text_list(value: str | list[str] | None) -> tuple[str, ...]:
    """A list of names given as a JSON array or as text with commas."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return tuple(value or ())


def entity_query(given: QueryInput, terms: TermMap, *, attributes: tuple[str, ...] = (), depth: int = 0) -> EntityQuery:
    """The query with its languages parsed and its names expanded; an entity has one of ``attributes`` (IRIs).

    ``depth`` is how many Relationships ``q`` may follow. Raises ``BadRequestData`` and ``TooComplexQuery``.
    """
    if given.csf is not None:
        parse_q(given.csf, terms.expand_term, name="csf")  # faults are told whether or not a source is asked
    return EntityQuery(
        ids=parse_ids(given.ids) if given.ids else (),
        id_pattern=parse_id_pattern(given.id_pattern) if given.id_pattern else None,
        types=parse_types(given.types, terms.expand_term) if given.types else None,
        attributes=attributes,
        q=_q(given, terms, depth),
        geo=_geo(given, terms.expand_term),
        scope=parse_scopes(given.scope_q) if given.scope_q else None,
        selectors=tuple(_selector(selector, terms.expand_term) for selector in given.selectors),
    )


def check_width(given: QueryInput, query: EntityQuery) -> None:
    """Raise ``BadRequestData`` for a query that would name everything there is (clause 5.7.2.4).

    ``*`` as the type implies ``local=true`` and contradicts ``local=false`` (Table 6.4.3.2-1).
    """
    texts = [given.types, *(selector.get("type") for selector in given.selectors)]
    if "*" in texts and given.local is False:
        raise BadRequestData('type="*" is limited to this broker and cannot go with local=false')
    names = query.attributes if query.q is None else (*query.attributes, *attribute_names(query.q))
    if given.local or any(texts) or query.geo is not None or not _SYSTEM_ATTRIBUTES.issuperset(names):
        return
    raise BadRequestData("The query is too wide: give at least one of type, attrs, q, georel, or local=true")


def _q(given: QueryInput, terms: TermMap, depth: int) -> QueryTree | None:
    if given.q is None:
        return None
    json_keys = {terms.expand_term(name) for name in given.json_keys}  # no values of theirs are terms (5.2.23)
    expand_values = [name for name in given.expand_values if terms.expand_term(name) not in json_keys]
    tree = parse_q(given.q, terms.expand_term, expand_values=expand_values)
    if linked_depth(tree) > depth:
        raise BadRequestData(
            "q follows a Relationship, as only queries of entities can, with a join and a joinLevel of as many steps"
        )
    return tree


def _geo(given: QueryInput, expand: Callable[[str], str]) -> GeoQuery | None:
    parts = (given.georel, given.geometry, given.coordinates)
    if parts == (None, None, None):
        return None
    georel, geometry, coordinates = parts
    if georel is None or geometry is None or coordinates is None:
        raise BadRequestData("A geoquery needs georel, geometry and coordinates")
    return parse_geo(georel, geometry, coordinates, given.geoproperty, expand=expand)


def _selector(given: Mapping[str, Any], expand: Callable[[str], str]) -> EntitySelector:
    """An EntitySelector of clause 5.2.33; its ``type`` is required, ``id`` is a URI or a list of them."""
    ids = given.get("id", ())
    ids = [ids] if isinstance(ids, str) else ids
    texts = [*ids, given.get("idPattern", ""), given.get("type")]
    if not all(isinstance(text, str) for text in texts):
        raise BadRequestData('An entry of "entities" needs a "type", and its members are texts')
    pattern = given.get("idPattern")
    return EntitySelector(
        ids=tuple(entity_id for text in ids for entity_id in parse_ids(text)),
        id_pattern=parse_id_pattern(pattern) if pattern else None,
        types=parse_types(given["type"], expand),
    )
