# SPDX-License-Identifier: Apache-2.0
"""People's decisions about the quality of values: corrections in history, the current value, a record of who said so.

A decision corrects every value of the range that is believed (:mod:`context_store.history.corrections`); what was
believed
before stays. It says nothing new about the river, so no alert is raised or cleared by it: the current value keeps its
observedAt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.entities import AttributeChange, EntityChange, Instance
from broker.errors import ResourceNotFound, TooManyResults
from broker.quality.decisions import QualityDecision
from broker.times import to_text
from context_store.database import Database
from context_store.entities.changes import EntityWriter, StoredEntity, lock_entities, utc_now
from context_store.history.corrections import insert_believed
from context_store.history.terms import TermIds
from context_store.history.writing import KIND_NAME, InstanceRows, typed_value
from context_store.rows import rows_of

SOURCE: Final = "minamo:quality"
"""Who changed the current value, in the events of it."""

# The values of a range that are believed, of all lives of an entity, with the device that each came from.
_BELIEVED: Final[LiteralString] = """
    select i.entity_key, i.observed_at, i.source_id, i.kind, i.number_value, i.text_value, i.boolean_value,
           i.json_value, i.unit_code, i.detail - 'createdAt'
      from entity_identity k
      join attribute_instance i on i.entity_key = k.entity_key and i.tenant_id = k.tenant_id
     where k.tenant_id = %(tenant_id)s and k.id = %(entity_id)s and i.attribute_id = %(attribute_id)s
       and i.dataset_id = %(dataset_id)s and i.observed_at >= %(start)s and i.observed_at < %(end)s
       and i.has_observed_at and not i.removed and i.kind = 1 and i.superseded_at is null
     order by i.observed_at limit %(limit)s
"""
_RECORD: Final[LiteralString] = """
    insert into quality_decision (tenant_id, entity_id, attribute, document, decided_by, decided_at, changed)
    values (%(tenant_id)s, %(entity_id)s, %(attribute)s, %(document)s::jsonb, %(who)s, %(now)s, %(changed)s)
    returning decision_id
"""
_LIST: Final[LiteralString] = """
    select decision_id, attribute, document, decided_by, decided_at, changed
      from quality_decision
     where tenant_id = %(tenant_id)s and entity_id = %(entity_id)s and attribute = %(attribute)s
       and decision_id < %(before)s
     order by decision_id desc limit %(limit)s
"""
_NEWEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision as it was recorded: ``document`` is its JSON form, ``changed`` how many values it was about."""

    decision_id: int
    attribute: str
    document: dict[str, Any]
    decided_by: str
    decided_at: datetime
    changed: int


class QualityDecisionStore:
    """Decisions of all tenants; one is about at most ``max_values`` values."""

    def __init__(self, database: Database, terms: TermIds, writer: EntityWriter, *, max_values: int) -> None:
        self._database = database
        self._terms = terms
        self._writer = writer
        self._max_values = max_values

    async def decide(
        self, tenant_id: int, entity_id: str, attribute: str, decision: QualityDecision, who: str
    ) -> DecisionRecord:
        """Apply and record ``decision`` about ``attribute`` (an IRI); ``who`` decided it.

        Raises :class:`ResourceNotFound` when the range has no value, :class:`TooManyResults` when it has too many.
        """
        numbers = await self._terms.lookup([attribute, decision.dataset])
        now = utc_now()
        async with self._database.transaction(tenant_id) as connection:
            stored = (await lock_entities(connection, tenant_id, [entity_id])).get(entity_id)
            values: dict[str, Any] = {
                "tenant_id": tenant_id,
                "entity_id": entity_id,
                "attribute_id": numbers.get(attribute, -1),
                "dataset_id": numbers.get(decision.dataset, -1),
                "start": decision.start,
                "end": decision.end,
                "limit": self._max_values + 1,
            }
            found = await (await connection.execute(_BELIEVED, values)).fetchall()
            if not found:
                raise ResourceNotFound(f"{entity_id} has no value of {attribute} in the range")
            if len(found) > self._max_values:
                raise TooManyResults(f"The range has more than {self._max_values} values; decide about shorter ones")
            rows = _decided_rows(found, (tenant_id, values["attribute_id"], values["dataset_id"]), decision)
            await insert_believed(connection, rows, now)
            if stored is not None:
                await self._change_current(connection, tenant_id, stored, attribute, decision, now)
            recorded = {
                **{name: values[name] for name in ("tenant_id", "entity_id")},
                "attribute": attribute,
                "document": orjson.dumps(decision.document()).decode(),
                "who": who,
                "now": now,
                "changed": len(found),
            }
            row = await (await connection.execute(_RECORD, recorded)).fetchone()
        return DecisionRecord(row[0] if row else 0, attribute, decision.document(), who, now, len(found))

    async def decisions(
        self, tenant_id: int, entity_id: str, attribute: str, *, before: int | None = None, limit: int = 100
    ) -> list[DecisionRecord]:
        """What was decided about ``attribute``, the newest first; ``before`` is the number of the last one known."""
        values = {
            "tenant_id": tenant_id,
            "entity_id": entity_id,
            "attribute": attribute,
            "before": _NEWEST if before is None else before,
            "limit": limit,
        }
        async with self._database.transaction(tenant_id) as connection:
            return await rows_of(connection, DecisionRecord, _LIST, values)

    async def _change_current(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        stored: StoredEntity,
        attribute: str,
        decision: QualityDecision,
        now: datetime,
    ) -> None:
        """Let the current value say what was decided, when it is of the range."""
        before = stored.entity
        present = before.attributes.get(attribute, {}).get(decision.dataset)
        observed = (present or {}).get("observedAt")
        if present is None or present["type"] != "Property" or observed is None:
            return
        if not decision.start <= datetime.fromisoformat(observed) < decision.end:
            return
        instance = {**decision.applied(present), "modifiedAt": to_text(now)}
        group = {**before.attributes[attribute], decision.dataset: instance}
        after = replace(before, attributes={**before.attributes, attribute: group}, modified_at=now)
        change = EntityChange(before, after, (AttributeChange(attribute, decision.dataset, present, instance),))
        await self._writer.write(connection, tenant_id, stored.key, change, source=SOURCE, now=now)


def _decided_rows(
    found: Sequence[tuple[Any, ...]], series: tuple[int, int, int], decision: QualityDecision
) -> InstanceRows:
    """The rows of history that correct ``found``; ``series`` is (tenant, attribute, dataset)."""
    tenant_id, attribute_id, dataset_id = series
    rows = InstanceRows()
    for key, observed_at, source_id, kind_number, *typed, unit_code, detail in found:
        kind = KIND_NAME[kind_number]
        instance: Instance = {"type": kind, "value": typed_value(kind, *typed), "observedAt": to_text(observed_at)}
        if unit_code is not None:
            instance["unitCode"] = unit_code
        place = (key, tenant_id, attribute_id, observed_at, dataset_id, source_id)
        rows.add(place, decision.applied(instance | (detail or {})), look=True)
    return rows


__all__ = ["SOURCE", "DecisionRecord", "QualityDecisionStore"]
