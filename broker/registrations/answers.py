# SPDX-License-Identifier: Apache-2.0
"""What a context source answers: entities from the wire, checked, with the times that the source gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.entities import Attributes, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.expansion import ENTITY_MEMBERS, expand_entity
from broker.validation import canonical_time, check_time
from schemas.terms import NO_DATASET

_TIMES: Final = ("createdAt", "modifiedAt")


def documents_of(answer: Any) -> list[dict[str, Any]]:
    """The entities of an answer, which is one of them or a list. Raises :class:`BadRequestData` for anything else."""
    documents = [answer] if isinstance(answer, dict) else answer
    if not isinstance(documents, list) or not all(isinstance(item, dict) for item in documents):
        raise BadRequestData("the answer is neither an entity nor a list of entities")
    return documents


def entity_of(document: dict[str, Any], terms: TermMap) -> ExpandedEntity:
    """One entity with its times; raises :class:`BadRequestData` for what is none (clause 4.3.6.8)."""
    entity = expand_entity(document, terms)
    moments = {name: check_time(document[name], name) for name in _TIMES if name in document}
    entity = replace(entity, created_at=moments.get("createdAt"), modified_at=moments.get("modifiedAt"))
    attributes: Attributes = {iri: dict(instances) for iri, instances in entity.attributes.items()}
    for name, value in document.items():
        if name not in ENTITY_MEMBERS:
            _take_times(attributes[terms.expand_term(name)], value)
    return entity.with_attributes(attributes)


def _take_times(instances: dict[str, Instance], value: Any) -> None:
    for given in _given_instances(value):
        dataset = given.get("datasetId", NO_DATASET)
        times: Instance = {name: canonical_time(given[name], name) for name in _TIMES if name in given}
        if times and dataset in instances:
            instances[dataset] = instances[dataset] | times


def _given_instances(value: Any) -> Iterator[dict[str, Any]]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item
