# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/audiences``: which attributes and entities are for the briefed or for staff only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter
from psycopg import AsyncConnection

from api.access.actors import RequestActor
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import answers, takes
from broker.audiences import AudienceRule, parse_audience_rule, rule_document
from broker.errors import BadRequestData
from context_store.alerts.audit import add_entry
from context_store.audiences.rules import list_audience_rules, replace_audience_rules
from schemas.contexts import MINAMO_CONTEXT

_MOST_RULES: Final = 1000


def audiences_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["audiences"])

    async def documents(rules: Iterable[AudienceRule]) -> list[dict[str, Any]]:
        terms = await hub.contexts.resolve(MINAMO_CONTEXT)
        return [rule_document(rule, terms.compact_iri) for rule in rules]

    async def present(connection: AsyncConnection, tenant_id: int) -> dict[str, Any]:
        found = await list_audience_rules(connection, tenant_id)
        shown = await documents(rule for rule, _ in found)
        return {"rules": [one | {"entityCount": count} for one, (_, count) in zip(shown, found, strict=True)]}

    @router.get("/audiences", summary="What is not public / 公開範囲の一覧", responses=answers("AudienceRules"))
    async def read(tenant_id: TenantId) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            return Json(await present(connection, tenant_id))

    @router.put(
        "/audiences",
        summary="Put these rules in the place of all / 公開範囲の置き換え",
        responses=answers("AudienceRules"),
        openapi_extra=takes("AudienceRules"),
    )
    async def put(tenant_id: TenantId, actor: RequestActor, body: JsonObject) -> Json:
        terms = await hub.contexts.resolve(MINAMO_CONTEXT)
        rules = [parse_audience_rule(one, terms.expand_term) for one in _items(body)]
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            before = await documents(await replace_audience_rules(connection, tenant_id, rules))
            after = await present(connection, tenant_id)
            details = {"before": before, "after": after["rules"]}
            await add_entry(connection, tenant_id, actor, "audiences.put", "audiences", now, details=details)
        return Json(after)

    return router


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    items = body.get("rules")
    if not isinstance(items, list) or len(items) > _MOST_RULES or not all(isinstance(one, dict) for one in items):
        raise BadRequestData(f'{{"rules": [...]}} with at most {_MOST_RULES} rules is expected')
    return items
