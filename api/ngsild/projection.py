# SPDX-License-Identifier: Apache-2.0
"""How entities are written in an answer: projection (4.21), representation (6.3.7), language and datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from api.ngsild.parameters import Parameters
from broker.contexts.jsonld import TermMap
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData, InvalidRequest
from broker.linked import LinkedForm
from broker.query.members import Member, members_depth, parse_members
from broker.representations import Form, Representation, parse_language_filter, represent, represent_feature
from broker.validation import check_dataset
from schemas.terms import GEO_JSON, LOCATION

PROJECTION_PARAMETERS: Final = frozenset(
    ("attrs", "pick", "omit", "datasetId", "lang", "format", "options", "geometryProperty")
)
JOIN_PARAMETERS: Final = frozenset(("join", "joinLevel", "containedBy"))
ORDER_PARAMETERS: Final = frozenset(("orderBy", "orderFrom", "orderGeometry", "collation"))
ENTITY_MAP_PARAMETERS: Final = frozenset(("entityMap", "entityMapLifetime"))

_CORE_MEMBERS: Final = frozenset(("id", "type", "scope"))
_TIME_MEMBERS: Final = frozenset(("createdAt", "modifiedAt", "expiresAt"))
_FORMS: Final = {
    "normalized": Form.NORMALIZED,
    "concise": Form.CONCISE,
    "simplified": Form.SIMPLIFIED,
    "keyValues": Form.SIMPLIFIED,
}
SYS_ATTRS: Final = "sysAttrs"
_TEMPORAL_VALUES: Final = "temporalValues"
AGGREGATED_VALUES: Final = "aggregatedValues"
FORMATS: Final = tuple(_FORMS)
FORM_OPTIONS: Final = (*FORMATS, SYS_ATTRS)
TEMPORAL_FORMATS: Final = (_TEMPORAL_VALUES, AGGREGATED_VALUES)
TEMPORAL_OPTIONS: Final = (*TEMPORAL_FORMATS, SYS_ATTRS)
"""Keywords of ``format`` and ``options`` for entities and for temporal evolutions."""


@dataclass(frozen=True, slots=True)
class Projection:
    """The representation, and which attributes (IRIs) an entity needs one of to be in the answer at all."""

    form: LinkedForm
    required_attributes: tuple[str, ...] = ()
    geometry_property: str = LOCATION

    @property
    def representation(self) -> Representation:
        """How the entities themselves are written, linked ones aside."""
        return self.form.representation

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes (IRIs) that are written, if only some are named; else empty."""
        named = self.representation.attrs or self.representation.pick or frozenset()
        return named - _CORE_MEMBERS - _TIME_MEMBERS

    def write(
        self, entity: ExpandedEntity, terms: TermMap, media_type: str, form: LinkedForm | None = None
    ) -> dict[str, Any]:
        """``entity`` as JSON without ``@context``; empty when nothing is left. ``form`` is that of a linked one."""
        representation = (form or self.form).representation
        if media_type != GEO_JSON:
            return represent(entity, terms, representation)
        return represent_feature(entity, terms, representation, self.geometry_property)


def entity_form(parameters: Parameters) -> Representation:
    """The representation of entities that a request asks for (6.3.7), and whether with the system's times (6.3.11).

    ``format`` wins over ``options``.
    """
    options = parameters.options()
    forms = [keyword for keyword in parameters.names("options") if keyword in _FORMS]
    if (given := parameters.text("format")) is not None:
        if given not in _FORMS:
            raise InvalidRequest(f"format is {given!r}; one of {', '.join(_FORMS)} is expected")
        forms = [given]
    return Representation(_FORMS[forms[0]] if forms else Form.NORMALIZED, SYS_ATTRS in options)


def projection_of_parameters(
    parameters: Parameters, terms: TermMap, media_type: str, form: Representation, *, depth: int = 0
) -> Projection:
    """The projection that URL parameters ask for; raises ``BadRequestData``.

    ``depth`` is how many Relationships are followed.
    """
    return _projection(
        parameters,
        terms,
        media_type,
        form=form,
        depth=depth,
        members={
            name: parse_members(parameters.text(name) or "", name)
            for name in ("attrs", "pick", "omit")
            if name in parameters
        },
        datasets=parameters.names("datasetId"),
        language=parameters.text("lang"),
    )


def projection_of_body(
    body: Any,
    parameters: Parameters,
    terms: TermMap,
    media_type: str,
    form: Representation,
    *,
    depth: int = 0,
) -> Projection:
    """The projection that a Query body asks for; ``form`` comes from URL parameters, ``depth`` is as above."""
    datasets = body.get("datasetId", ())
    return _projection(
        parameters,
        terms,
        media_type,
        form=form,
        depth=depth,
        members={
            name: tuple(member for text in body[name] for member in parse_members(text, name))
            for name in ("attrs", "pick", "omit")
            if name in body
        },
        datasets=[datasets] if isinstance(datasets, str) else datasets,
        language=body.get("lang"),
    )


def _projection(
    parameters: Parameters,
    terms: TermMap,
    media_type: str,
    *,
    form: Representation,
    depth: int,
    members: dict[str, tuple[Member, ...]],
    datasets: Sequence[str],
    language: str | None,
) -> Projection:
    if len(members) > 1:
        raise BadRequestData(f"Only one of {' and '.join(members)} can be given")
    geometry_property = parameters.text("geometryProperty")
    if geometry_property is not None and media_type != GEO_JSON:
        raise BadRequestData(f"geometryProperty needs Accept: {GEO_JSON}")
    form = replace(
        form,
        datasets=frozenset(check_dataset(dataset, "datasetId") for dataset in datasets) if datasets else None,
        languages=parse_language_filter(language) if language else (),
    )
    _check_depth(members, depth)
    attrs = _attributes(members["attrs"], terms) if "attrs" in members else None
    linked = _linked_form(form, members.get("pick"), members.get("omit"), terms)
    linked = replace(linked, representation=replace(linked.representation, attrs=attrs))
    pick = linked.representation.pick
    required = attrs or (pick if pick and not pick & (_CORE_MEMBERS | _TIME_MEMBERS) else None)
    geometry = LOCATION if geometry_property is None else terms.expand_term(geometry_property)
    return Projection(linked, tuple(sorted(required or ())), geometry)


def _check_depth(members: dict[str, tuple[Member, ...]], depth: int) -> None:
    """Raise ``BadRequestData`` when a selection follows more Relationships than the request does (5.7.2.4)."""
    for name, chosen in members.items():
        if members_depth(chosen) > depth:
            raise BadRequestData(
                f"{name} names members of linked entities, which needs a join with a joinLevel of as many steps"
            )


def _linked_form(
    form: Representation, pick: tuple[Member, ...] | None, omit: tuple[Member, ...] | None, terms: TermMap
) -> LinkedForm:
    """The form of an entity of which these members are picked or omitted, and of the entities linked to it.

    A member with a selection of its own is picked, and never omitted; what is linked and not selected from is whole.
    """
    linked = {}
    for member in (*(pick or ()), *(omit or ())):
        if member.linked:
            picked, omitted = (member.linked, None) if pick else (None, member.linked)
            linked[terms.expand_term(member.name)] = _linked_form(form, picked, omitted, terms)
    representation = replace(
        form,
        pick=_members(pick, terms) if pick is not None else None,
        omit=_members(tuple(member for member in omit or () if not member.linked), terms),
    )
    return LinkedForm(representation, linked, LinkedForm(form))


def _members(members: Sequence[Member], terms: TermMap) -> frozenset[str]:
    """Members of an entity: those of the core as they are, attributes as IRIs."""
    names = [member.name for member in members]
    return frozenset(
        name if name in _CORE_MEMBERS or name in _TIME_MEMBERS else terms.expand_term(name) for name in names
    )


def _attributes(members: Sequence[Member], terms: TermMap) -> frozenset[str]:
    for member in members:
        if member.name in _CORE_MEMBERS:
            raise BadRequestData(f"attrs names attributes; {member.name!r} is none, pick takes it")
        if member.linked:
            raise BadRequestData("attrs names attributes of the entities themselves; pick takes those of linked ones")
    return frozenset(terms.expand_term(member.name) for member in members)
