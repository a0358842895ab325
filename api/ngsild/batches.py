# SPDX-License-Identifier: Apache-2.0
"""Batches of changes that context sources have a part in (clauses 4.3.6.2, 4.3.6.3 and 5.6.7 to 5.6.10, 5.6.20).

Each source that registered the batch operation gets one batch with its parts of all entities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from api.http.json_bodies import parse_body
from api.ngsild.changes import DistributedChanges, Distribution, Problem, part_of
from api.ngsild.sources import Source
from broker.contexts.jsonld import TermMap
from broker.errors import NgsiLdError


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a batch: an entity or a fragment without its ``@context``; None for a deletion."""

    entity_id: str
    terms: TermMap
    body: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Passed:
    """What became of the parts of sources: problems by entity and registration, and which entities are new there."""

    problems: list[tuple[str, str, Problem]] = field(default_factory=list)
    made: dict[str, None] = field(default_factory=dict)
    created: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Portion:
    """The batch of one source, in the names of one ``@context``."""

    source: Source
    terms: TermMap
    entries: list[tuple[str, Any]] = field(default_factory=list)  # entity id, its part


async def pass_on(
    changes: DistributedChanges,
    request: Request,
    segments: Sequence[str],
    shared: Sequence[tuple[Entry, Distribution]],
) -> Passed:
    """Send all sources their parts of a batch; ``segments`` are the path of the operation."""
    passed = Passed()
    portions: dict[tuple[int, int], _Portion] = {}
    for entry, change in shared:
        passed.problems += [(entry.entity_id, name, problem) for name, problem in change.refusals.items()]
        for source in change.sources:
            part = entry.entity_id if entry.body is None else part_of(source, entry.body, entry.terms)
            if part is not None:
                portion = portions.setdefault((source.key, id(entry.terms)), _Portion(source, entry.terms))
                portion.entries.append((entry.entity_id, part))
    await asyncio.gather(*(_send(changes, request, segments, portion, passed) for portion in portions.values()))
    return passed


async def _send(
    changes: DistributedChanges, request: Request, segments: Sequence[str], portion: _Portion, passed: Passed
) -> None:
    """One batch to one source, and what became of each entity."""
    parts = [part for _, part in portion.entries]
    outcome = await changes.send(request, portion.source, portion.terms, segments, parts)
    registration_id = portion.source.registration.id
    ids = [entity_id for entity_id, _ in portion.entries]
    if isinstance(outcome, Mapping):
        passed.problems += [(entity_id, registration_id, outcome) for entity_id in ids]
        return
    answer = _json(outcome.body)
    failed = _errors(answer) if outcome.status == 207 else {}
    passed.problems += [(entity_id, registration_id, failed[entity_id]) for entity_id in ids if entity_id in failed]
    passed.made |= dict.fromkeys(entity_id for entity_id in ids if entity_id not in failed)
    if outcome.status == 201:  # with the ids of new entities; some say nothing
        new = set(map(str, answer)) if isinstance(answer, list) else set(ids)
        passed.created |= dict.fromkeys(entity_id for entity_id in ids if entity_id in new)


def _json(body: bytes) -> Any:
    try:
        return parse_body(body) if body else None
    except NgsiLdError:
        return None


def _errors(answer: Any) -> dict[str, Problem]:
    """The errors of a BatchOperationResult by entity (clause 5.2.17)."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return {
        item["entityId"]: item["error"]
        for item in errors or ()
        if isinstance(item, dict) and isinstance(item.get("entityId"), str) and isinstance(item.get("error"), dict)
    }
