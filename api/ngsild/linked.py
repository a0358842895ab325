# SPDX-License-Identifier: Apache-2.0
"""``join``, ``joinLevel`` and ``containedBy`` of a request, and answers with linked entities (clause 4.5.23)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.ngsild.parameters import Parameters
from api.ngsild.projection import Projection
from broker.contexts.jsonld import TermMap
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData, TooComplexQuery
from broker.linked import MAX_JOIN_LEVEL, Fetch, Inliner, Join, LinkedRetrieval, flattened, linked_entities
from broker.query import parse_ids


def retrieval_of_parameters(parameters: Parameters) -> LinkedRetrieval:
    """What URL parameters ask for; ``joinLevel`` is a positive integer (Table 6.4.3.2-1)."""
    contained_by = parameters.text("containedBy")
    return _retrieval(
        parameters.text("join"),
        parameters.integer("joinLevel", least=1),
        parse_ids(contained_by) if contained_by else (),
    )


def retrieval_of_body(body: Mapping[str, Any]) -> LinkedRetrieval:
    """What a Query body asks for (clause 5.2.23)."""
    level = body.get("joinLevel")
    if level is not None and (isinstance(level, bool) or level < 1):
        raise BadRequestData("joinLevel is a whole number of at least 1")
    contained_by = [entity_id for text in body.get("containedBy", ()) for entity_id in parse_ids(text)]
    return _retrieval(body.get("join"), level, contained_by)


def _retrieval(join: str | None, level: int | None, contained_by: Sequence[str]) -> LinkedRetrieval:
    if join is not None and join not in set(Join):
        raise BadRequestData(f"join is {join!r}; one of {', '.join(Join)} is expected")
    if level is not None and level > MAX_JOIN_LEVEL:
        raise TooComplexQuery(f"joinLevel is {level}; at most {MAX_JOIN_LEVEL} are followed")
    return LinkedRetrieval(Join(join or Join.NONE), level or 1, frozenset(contained_by))


@dataclass(frozen=True, slots=True)
class LinkedWriter:
    """Writes entities, with linked ones as ``retrieval`` says, which ``fetch`` gets by their ids."""

    fetch: Fetch
    retrieval: LinkedRetrieval

    async def write(
        self, roots: Sequence[ExpandedEntity], projection: Projection, terms: TermMap, media_type: str
    ) -> list[dict[str, Any]]:
        """``roots`` as JSON; flat, what they link to follows them."""
        retrieval = self.retrieval
        if retrieval.join is Join.NONE:
            return [projection.write(root, terms, media_type) for root in roots]
        linked = await linked_entities(roots, projection.form, retrieval, self.fetch)
        if retrieval.join is Join.FLAT:
            entities = flattened(roots, projection.form, linked)
            return [projection.write(entity, terms, media_type, form) for entity, form in entities]
        inliner = Inliner(linked, retrieval, terms)
        return [projection.write(inliner.inlined(root, projection.form), terms, media_type) for root in roots]
