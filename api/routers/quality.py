# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/entities/{id}/quality/{attribute}``: people confirm or correct values; who did so is kept."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from api.access.actors import RequestActor
from api.http.requests import JsonObject, RowNumber, TenantId, expand_name, short_name
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.errors import TooManyResults
from broker.quality.decisions import parse_decision
from broker.times import to_text
from context_store.alerts.audit import Actor
from context_store.intake.quality_decisions import DecisionRecord, QualityDecisionStore

_ENTITY = Path(description="URI of the entity")
_ATTRIBUTE = Path(description="Name or IRI of the attribute")


def quality_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1/entities", tags=["history"])
    store = QualityDecisionStore(hub.database, hub.terms, hub.writer, max_values=hub.settings.quality_max_values)

    @router.post(
        "/{entity_id:path}/quality/{attribute:path}",
        summary="Confirm or correct values / 測定値の確認・訂正",
        description="Says of every value of a range how good it is, or corrects it. What was measured is kept. "
        "/ 期間内の値の品質を定めるか、値を訂正します。元の値は履歴に残ります。",
        status_code=201,
        responses=answers("QualityDecision", *NEEDED, TooManyResults, statuses=(201,)),
        openapi_extra=takes("QualityDecisionInput"),
    )
    async def decide(
        tenant_id: TenantId,
        actor: RequestActor,
        entity_id: Annotated[str, _ENTITY],
        attribute: Annotated[str, _ATTRIBUTE],
        body: JsonObject,
    ) -> Json:
        iri = await expand_name(hub, tenant_id, entity_id, attribute)
        record = await store.decide(tenant_id, entity_id, iri, parse_decision(body), _named(actor))
        return Json(_document(record), status_code=201)

    @router.get(
        "/{entity_id:path}/quality/{attribute:path}",
        summary="What was decided about values, newest first / 確認・訂正の記録",
        responses=answers("QualityDecisions", *NEEDED),
    )
    async def decisions(
        tenant_id: TenantId,
        entity_id: Annotated[str, _ENTITY],
        attribute: Annotated[str, _ATTRIBUTE],
        before: Annotated[RowNumber | None, Query(description="Number of the last one known")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        iri = await expand_name(hub, tenant_id, entity_id, attribute)
        found = await store.decisions(tenant_id, entity_id, iri, before=before, limit=limit)
        return Json({"decisions": [_document(record) for record in found]})

    return router


def _document(record: DecisionRecord) -> dict[str, Any]:
    return {
        "id": record.decision_id,
        "attribute": short_name(record.attribute),
        **record.document,
        "decidedBy": record.decided_by,
        "decidedAt": to_text(record.decided_at),
        "changed": record.changed,
    }


def _named(actor: Actor) -> str:
    """Whose credential it was, and who the person says to be."""
    return f"{actor.name} ({actor.key})" if actor.name else actor.key
