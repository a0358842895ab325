# SPDX-License-Identifier: Apache-2.0
"""Which form of a temporal evolution a request asks for (clause 6.3.12), and the aggregation of it (4.5.19)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.ngsild.parameters import Parameters
from api.ngsild.projection import AGGREGATED_VALUES, SYS_ATTRS, TEMPORAL_FORMATS
from api.ngsild.queries import text_list
from broker.errors import BadRequestData, InvalidRequest
from broker.history.aggregation import Aggregation, aggregation_of
from broker.representations import Representation

AGGREGATION_PARAMETERS: Final = frozenset(("aggrMethods", "aggrPeriodDuration", "aggrTimeZone"))
"""The last one is the hub's own: whose calendar days and months are of."""


@dataclass(frozen=True, slots=True)
class EvolutionForm:
    """Instances in full, as simplified values, or aggregated."""

    representation: Representation
    as_values: bool = False
    aggregation: Aggregation | None = None


def read_form(parameters: Parameters) -> EvolutionForm:
    """The form that URL parameters ask for; ``format`` wins over ``options``."""
    options = parameters.options()
    forms = options - {SYS_ATTRS}
    if (given := parameters.text("format")) is not None:
        if given not in TEMPORAL_FORMATS:
            raise InvalidRequest(f"format is {given!r}; one of {', '.join(TEMPORAL_FORMATS)} is expected")
        forms = frozenset((given,))
    if len(forms) > 1:
        raise BadRequestData(f"Only one of {' and '.join(TEMPORAL_FORMATS)} can be given")
    representation = Representation(sys_attrs=SYS_ATTRS in options)
    if AGGREGATED_VALUES not in forms:
        return EvolutionForm(representation, as_values=bool(forms))
    aggregation = aggregation_of(
        parameters.names("aggrMethods"), parameters.text("aggrPeriodDuration"), parameters.text("aggrTimeZone")
    )
    return EvolutionForm(representation, aggregation=aggregation)


def form_of_body(body: Any, parameters: Parameters) -> tuple[Any, EvolutionForm]:
    """A Query body without its aggregation, and the form: an aggregation in the body wins over URL parameters."""
    rest, aggregation = split_body(body)
    return rest, read_form(parameters) if aggregation is None else EvolutionForm(
        Representation(), aggregation=aggregation
    )


def split_body(body: Any) -> tuple[Any, Aggregation | None]:
    """A Query body without its aggregation, and that: in ``aggrParams`` (5.2.44) or in ``temporalQ`` (5.2.21)."""
    if not isinstance(body, Mapping):
        return body, None
    rest = dict(body)
    given: dict[str, Any] = {}
    temporal = rest.get("temporalQ")
    if isinstance(temporal, Mapping):
        given = {name: value for name, value in temporal.items() if name in AGGREGATION_PARAMETERS}
        rest["temporalQ"] = {name: value for name, value in temporal.items() if name not in given}
    if "aggrParams" in rest:
        given |= _members(rest.pop("aggrParams"))
    if not given:
        return rest, None
    methods, duration, zone = map(given.get, ("aggrMethods", "aggrPeriodDuration", "aggrTimeZone"))
    if not isinstance(methods, str | list) or not all(isinstance(name, str) for name in methods):
        raise BadRequestData("aggrMethods is a list of names")
    if not isinstance(duration, str | None):
        raise BadRequestData("aggrPeriodDuration is a text")
    if not isinstance(zone, str | None):
        raise BadRequestData("aggrTimeZone is a text")
    return rest, aggregation_of(text_list(methods), duration, zone)


def _members(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not AGGREGATION_PARAMETERS.issuperset(given):
        raise BadRequestData(f"aggrParams is an object with the members {', '.join(sorted(AGGREGATION_PARAMETERS))}")
    return dict(given)
