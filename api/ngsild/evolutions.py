# SPDX-License-Identifier: Apache-2.0
"""What a request asks of temporal evolutions: of which entities, when, as known when, and how written.

URL parameters (6.18.3.2, 6.19.3.1) and Query bodies (5.2.23) become one model, for answers and for entity maps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request

from api.ngsild.aggregation import AGGREGATION_PARAMETERS, EvolutionForm, form_of_body, read_form
from api.ngsild.entity_maps import EvolutionQuery, MapRequest, map_of_body, map_of_parameters
from api.ngsild.paging import PAGE_PARAMETERS
from api.ngsild.parameters import Parameters
from api.ngsild.projection import (
    ENTITY_MAP_PARAMETERS,
    JOIN_PARAMETERS,
    ORDER_PARAMETERS,
    Projection,
    projection_of_body,
    projection_of_parameters,
)
from api.ngsild.queries import (
    FILTER_PARAMETERS,
    QueryInput,
    check_query_body,
    check_width,
    entity_query,
    query_of_body,
    query_of_parameters,
    read_local,
    requested_order,
    temporal_of_body,
)
from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData, OperationNotSupported
from broker.history.temporal import TemporalQuery, temporal_query

KNOWLEDGE_PARAMETERS: Final = frozenset(("asKnownAt", "corrections"))
"""Of the hub's own: what was believed at another time, and what was corrected."""
_TIMES: Final = frozenset(("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN"))
_FORM: Final = frozenset(("attrs", "pick", "omit", "datasetId", "lang", "format", "options"))
RETRIEVE_PARAMETERS: Final = _TIMES | _FORM | AGGREGATION_PARAMETERS | ENTITY_MAP_PARAMETERS | KNOWLEDGE_PARAMETERS
QUERY_PARAMETERS: Final = RETRIEVE_PARAMETERS | FILTER_PARAMETERS | PAGE_PARAMETERS | JOIN_PARAMETERS | ORDER_PARAMETERS
POST_QUERY_PARAMETERS: Final = PAGE_PARAMETERS | {"options", "format"} | AGGREGATION_PARAMETERS | KNOWLEDGE_PARAMETERS


@dataclass(frozen=True, slots=True)
class EvolutionRequest:
    """One request about temporal evolutions."""

    entities: QueryInput
    query: TemporalQuery
    projection: Projection
    form: EvolutionForm
    entity_map: MapRequest

    @property
    def attributes(self) -> frozenset[str] | None:
        """The attributes (IRIs) whose instances are asked for; None for all."""
        return self.projection.attributes or None

    def selection(self, terms: TermMap) -> EvolutionQuery:
        """The query (clause 5.7.4.4); raises ``BadRequestData`` and ``TooComplexQuery``."""
        if not self.query.restricted:
            raise BadRequestData("A query of temporal evolutions needs timerel and timeAt")
        entities = entity_query(self.entities, terms)
        check_width(self.entities, replace(entities, attributes=tuple(self.attributes or ())))
        ordering = requested_order(self.entities, terms)
        if ordering is not None and any(term.path.names or term.path.member != "id" for term in ordering.terms):
            raise BadRequestData("orderBy: temporal evolutions can only be ordered by id")
        return EvolutionQuery(entities, self.query, self.attributes, ordering)


def evolution_of_parameters(
    request: Request, parameters: Parameters, terms: TermMap, media_type: str
) -> EvolutionRequest:
    """What URL parameters and headers ask for; raises ``BadRequestData`` and its like."""
    form = read_form(parameters)
    _check_not_linked(parameters.items())
    projection = projection_of_parameters(parameters, terms, media_type, form.representation)
    query = temporal_query(
        timerel=parameters.text("timerel"),
        time_at=parameters.time("timeAt"),
        end_time_at=parameters.time("endTimeAt"),
        time_property=parameters.text("timeproperty"),
        last_n=parameters.integer("lastN", least=1),
        datasets=projection.representation.datasets,
    )
    query = _knowledge(query, parameters, form)
    given = query_of_parameters(parameters)
    return EvolutionRequest(given, query, projection, form, map_of_parameters(request, parameters))


def evolution_of_body(
    request: Request, parameters: Parameters, body: Any, terms: TermMap, media_type: str
) -> EvolutionRequest:
    """What a Query body asks for, and the URL parameters beside it."""
    body, form = form_of_body(body, parameters)
    check_query_body(body, temporal=True)
    _check_not_linked(body.items())
    projection = projection_of_body(body, parameters, terms, media_type, form.representation)
    query = temporal_of_body(body.get("temporalQ", {}), projection.representation.datasets)
    query = _knowledge(query, parameters, form)
    given = query_of_body(body, read_local(parameters))
    return EvolutionRequest(given, query, projection, form, map_of_body(request, body))


def _knowledge(query: TemporalQuery, parameters: Parameters, form: EvolutionForm) -> TemporalQuery:
    """``query`` with its aggregation, and with whose knowledge it is about."""
    corrections = parameters.flag("corrections")
    if corrections and (form.as_values or form.aggregation is not None):
        raise BadRequestData("corrections=true lists instances; it goes with neither temporalValues nor aggregation")
    return replace(
        query, aggregation=form.aggregation, as_known_at=parameters.time("asKnownAt"), corrections=corrections
    )


def _check_not_linked(given: Iterable[tuple[str, Any]]) -> None:
    """Raise for members and parameters of Linked Entity retrieval, which evolutions do not know."""
    for name, value in given:
        if name in JOIN_PARAMETERS and (name, value) != ("join", "@none"):
            raise OperationNotSupported(f"{name!r} is not for temporal evolutions: they follow no Relationships")
