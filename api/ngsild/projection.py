# SPDX-License-Identifier: Apache-2.0
"""How entities are written in an answer: projection (4.21), representation (6.3.7), language and datasets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from api.ngsild.parameters import Parameters
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData, InvalidRequest, OperationNotSupported
from broker.jsonld import TermMap
from broker.representations import Form, Representation, parse_language_filter, represent, represent_feature
from broker.validation import check_dataset
from schemas.terms import GEO_JSON, LOCATION

PROJECTION_PARAMETERS: Final = frozenset(
    ("attrs", "pick", "omit", "datasetId", "lang", "format", "options", "geometryProperty")
)
UNSUPPORTED_PARAMETERS: Final = frozenset(
    ("join", "joinLevel", "containedBy", "orderBy", "orderFrom", "orderGeometry", "collation")
)
"""Known to the specification, and refused rather than passed over."""
ENTITY_MAP_PARAMETERS: Final = frozenset(("entityMap", "entityMapLifetime"))
"""Known and passed over: a broker declines an EntityMap by returning none (clause 5.5.14)."""

_CORE_MEMBERS: Final = frozenset(("id", "type", "scope"))
_TIME_MEMBERS: Final = frozenset(("createdAt", "modifiedAt", "expiresAt"))
_FORMS: Final = {
    "normalized": Form.NORMALIZED,
    "concise": Form.CONCISE,
    "simplified": Form.SIMPLIFIED,
    "keyValues": Form.SIMPLIFIED,
}
_SYS_ATTRS: Final = "sysAttrs"
_TEMPORAL_VALUES: Final = "temporalValues"
_AGGREGATED_VALUES: Final = "aggregatedValues"


@dataclass(frozen=True, slots=True)
class Projection:
    """The representation, and which attributes (IRIs) an entity needs one of to be in the answer at all."""

    representation: Representation
    required_attributes: tuple[str, ...] = ()
    geometry_property: str = LOCATION

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes (IRIs) that are written, if only some are named; else empty."""
        named = self.representation.attrs or self.representation.pick or frozenset()
        return named - _CORE_MEMBERS - _TIME_MEMBERS

    def write(self, entity: ExpandedEntity, terms: TermMap, media_type: str) -> dict[str, Any]:
        """``entity`` as JSON without ``@context``; empty when nothing of it is left."""
        if media_type != GEO_JSON:
            return represent(entity, terms, self.representation)
        return represent_feature(entity, terms, self.representation, self.geometry_property)


def entity_form(parameters: Parameters) -> Representation:
    """The representation of entities that a request asks for (6.3.7), and whether with the system's times (6.3.11).

    ``format`` wins over ``options``.
    """
    options = parameters.options(_FORMS.keys() | {_SYS_ATTRS})
    forms = [keyword for keyword in parameters.names("options") if keyword in _FORMS]
    if (given := parameters.text("format")) is not None:
        if given not in _FORMS:
            raise InvalidRequest(f"format is {given!r}; one of {', '.join(_FORMS)} is expected")
        forms = [given]
    return Representation(_FORMS[forms[0]] if forms else Form.NORMALIZED, _SYS_ATTRS in options)


def temporal_form(parameters: Parameters) -> tuple[Representation, bool]:
    """The same for temporal evolutions, and whether they are wanted as simplified values (6.3.12)."""
    options = parameters.options({_SYS_ATTRS, _TEMPORAL_VALUES, _AGGREGATED_VALUES})
    forms = options - {_SYS_ATTRS}
    if (given := parameters.text("format")) is not None:
        if given not in (_TEMPORAL_VALUES, _AGGREGATED_VALUES):
            raise InvalidRequest(f"format is {given!r}; {_TEMPORAL_VALUES} or {_AGGREGATED_VALUES} is expected")
        forms = frozenset((given,))
    if len(forms) > 1:
        raise BadRequestData(f"Only one of {_TEMPORAL_VALUES} and {_AGGREGATED_VALUES} can be given")
    if _AGGREGATED_VALUES in forms:
        raise OperationNotSupported("Aggregated values are not supported")
    return Representation(sys_attrs=_SYS_ATTRS in options), bool(forms)


def projection_of_parameters(
    parameters: Parameters, terms: TermMap, media_type: str, form: Representation
) -> Projection:
    """The projection that URL parameters ask for; raises ``BadRequestData`` and ``OperationNotSupported``."""
    _check_support(parameters)
    return _projection(
        parameters,
        terms,
        media_type,
        form=form,
        members={name: _split(parameters.text(name)) for name in ("attrs", "pick", "omit") if name in parameters},
        datasets=parameters.names("datasetId"),
        language=parameters.text("lang"),
    )


def projection_of_body(
    body: Any, parameters: Parameters, terms: TermMap, media_type: str, form: Representation
) -> Projection:
    """The projection that a Query body asks for; ``form`` comes from URL parameters."""
    _check_support(parameters)
    if body.get("join", "@none") != "@none":
        raise OperationNotSupported("Linked Entity retrieval is not supported")
    datasets = body.get("datasetId", ())
    return _projection(
        parameters,
        terms,
        media_type,
        form=form,
        members={name: tuple(body[name]) for name in ("attrs", "pick", "omit") if name in body},
        datasets=[datasets] if isinstance(datasets, str) else datasets,
        language=body.get("lang"),
    )


def _check_support(parameters: Parameters) -> None:
    for name, value in parameters.items():
        if name in UNSUPPORTED_PARAMETERS and (name, value) != ("join", "@none"):
            raise OperationNotSupported(f"Parameter {name!r} is not supported")


def _projection(
    parameters: Parameters,
    terms: TermMap,
    media_type: str,
    *,
    form: Representation,
    members: dict[str, tuple[str, ...]],
    datasets: Sequence[str],
    language: str | None,
) -> Projection:
    if len(members) > 1:
        raise BadRequestData(f"Only one of {' and '.join(members)} can be given")
    geometry_property = parameters.text("geometryProperty")
    if geometry_property is not None and media_type != GEO_JSON:
        raise BadRequestData(f"geometryProperty needs Accept: {GEO_JSON}")
    attrs = _attributes(members["attrs"], terms) if "attrs" in members else None
    pick = _members(members["pick"], terms) if "pick" in members else None
    required = attrs or (pick if pick and not pick & (_CORE_MEMBERS | _TIME_MEMBERS) else None)
    representation = replace(
        form,
        attrs=attrs,
        pick=pick,
        omit=_members(members.get("omit", ()), terms),
        datasets=frozenset(check_dataset(dataset, "datasetId") for dataset in datasets) if datasets else None,
        languages=parse_language_filter(language) if language else (),
    )
    geometry = LOCATION if geometry_property is None else terms.expand_term(geometry_property)
    return Projection(representation, tuple(sorted(required or ())), geometry)


def _split(text: str | None) -> tuple[str, ...]:
    """The terms of clause 4.21: ``a,b`` or ``a|b``."""
    return tuple(re.split(r"[,|]", text or ""))


def _members(names: Sequence[str], terms: TermMap) -> frozenset[str]:
    """Members of an entity: those of the core as they are, attributes as IRIs."""
    return frozenset(
        name if name in _CORE_MEMBERS or name in _TIME_MEMBERS else _attribute(name, terms) for name in names
    )


def _attributes(names: Sequence[str], terms: TermMap) -> frozenset[str]:
    for name in names:
        if name in _CORE_MEMBERS:
            raise BadRequestData(f"attrs names attributes; {name!r} is none, pick takes it")
    return frozenset(_attribute(name, terms) for name in names)


def _attribute(name: str, terms: TermMap) -> str:
    if "{" in name or "}" in name:
        raise BadRequestData(f"{name!r} names an attribute of a linked entity, which needs a join")
    return terms.expand_term(name)
