# SPDX-License-Identifier: Apache-2.0
"""Which form of a temporal evolution a request asks for (clause 6.3.12), and the aggregation of it (4.5.19)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.ngsild.parameters import Parameters
from api.ngsild.projection import temporal_form
from api.ngsild.queries import text_list
from broker.aggregation import Aggregation, aggregation_of
from broker.errors import BadRequestData
from broker.representations import Representation

AGGREGATION_PARAMETERS: Final = frozenset(("aggrMethods", "aggrPeriodDuration"))
_AGGREGATED_VALUES: Final = "aggregatedValues"


@dataclass(frozen=True, slots=True)
class EvolutionForm:
    """Instances in full, as simplified values, or aggregated."""

    representation: Representation
    as_values: bool = False
    aggregation: Aggregation | None = None


def read_form(parameters: Parameters) -> EvolutionForm:
    """The form that URL parameters ask for; ``format`` wins over ``options``."""
    if not _is_aggregated(parameters):
        return EvolutionForm(*temporal_form(parameters))
    options = parameters.options()
    if "temporalValues" in options and parameters.text("format") is None:
        raise BadRequestData(f"Only one of temporalValues and {_AGGREGATED_VALUES} can be given")
    aggregation = aggregation_of(parameters.names("aggrMethods"), parameters.text("aggrPeriodDuration"))
    return EvolutionForm(Representation(sys_attrs="sysAttrs" in options), aggregation=aggregation)


def _is_aggregated(parameters: Parameters) -> bool:
    given = parameters.text("format")
    return _AGGREGATED_VALUES in ((given,) if given is not None else parameters.names("options"))


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
    methods, duration = given.get("aggrMethods"), given.get("aggrPeriodDuration")
    if not isinstance(methods, str | list) or not all(isinstance(name, str) for name in methods):
        raise BadRequestData("aggrMethods is a list of names")
    if not isinstance(duration, str | None):
        raise BadRequestData("aggrPeriodDuration is a text")
    return rest, aggregation_of(text_list(methods), duration)


def _members(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not AGGREGATION_PARAMETERS.issuperset(given):
        raise BadRequestData(f"aggrParams is an object with the members {' and '.join(sorted(AGGREGATION_PARAMETERS))}")
    return dict(given)
