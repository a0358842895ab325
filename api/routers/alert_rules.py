# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/alert-rules``: rules one by one, all of them as JSON or YAML, and what they would have done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from adapters.files.rules_yaml import YAML, read_yaml, write_yaml
from api.access.actors import RequestActor
from api.alerting.replay import ReplayQuestion, replay_rules
from api.alerting.rules import Put, import_rules, put_rule_document, read_rule, remove_rule
from api.http.json_bodies import parse_body
from api.http.negotiation import content_type, read_body
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.building import ref
from api.openapi.plain import NEEDED, answers, takes
from broker.alerts import rule_document
from broker.errors import BadRequestData, TooComplexQuery
from broker.times import parse_time
from schemas.terms import JSON

_YAML_TYPES: Final = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml"})
_LIST_ANSWERS: Final = answers("AlertRules")
_LIST_ANSWERS[200]["content"][YAML] = {"schema": ref("AlertRules")}


def add_rule_routes(router: APIRouter, hub: Hub) -> None:
    """The routes on ``hub``, under the prefix of ``router``."""

    @router.get("/alert-rules", summary="Alert rules, as JSON or YAML / 警報ルール", responses=_LIST_ANSWERS)
    async def rules(
        tenant_id: TenantId,
        form: Annotated[Literal["json", "yaml"] | None, Query(alias="format")] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        async with hub.database.transaction(tenant_id) as connection:
            found = await hub.alert_rules.list_rules(connection, tenant_id)
        document = {"rules": [rule_document(rule) for rule in found]}
        if form == "yaml" or (form is None and any(kind in accept for kind in _YAML_TYPES)):
            return Response(write_yaml(document), media_type=YAML)
        return Json(document)

    @router.post(
        "/alert-rules/import",
        summary="Put many rules at once, all or none / ルールの一括登録",
        responses=answers("RuleImport"),
        openapi_extra=_takes_rules("RuleImportInput"),
    )
    async def import_all(
        request: Request,
        tenant_id: TenantId,
        actor: RequestActor,
        replace: Annotated[bool, Query(description="Remove rules that are not among them")] = False,
        dry_run: Annotated[bool, Query(alias="dryRun", description="Only say what would happen")] = False,
    ) -> Json:
        documents = _rules_of(await _read_document(hub, request))
        found, removed = await import_rules(hub, tenant_id, documents, actor, replace=replace, dry_run=dry_run)
        return Json({"rules": [_put_document(put) for put in found], "removed": removed, "dryRun": dry_run})

    @router.post(
        "/alert-rules/replay",
        summary="What would rules have done on the stored history? / 過去の記録での試算",
        responses=answers("RuleReplay", TooComplexQuery),
        openapi_extra=takes("RuleReplayInput"),
    )
    async def replay(tenant_id: TenantId, body: JsonObject) -> Json:
        return Json(await replay_rules(hub, tenant_id, await _question(hub, tenant_id, body)))

    @router.get("/alert-rules/{rule_id}", summary="One rule / ルール一件", responses=answers("AlertRule", *NEEDED))
    async def rule(tenant_id: TenantId, rule_id: str) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            return Json(rule_document(await hub.alert_rules.get_rule(connection, tenant_id, rule_id)))

    @router.put(
        "/alert-rules/{rule_id}",
        summary="Create or replace a rule / ルールの登録",
        responses=answers("AlertRule", statuses=(200, 201)),
        openapi_extra=takes("AlertRuleInput"),
    )
    async def put_rule(tenant_id: TenantId, rule_id: str, actor: RequestActor, body: JsonObject) -> Response:
        if body.setdefault("id", rule_id) != rule_id:
            raise BadRequestData(f"id is {body['id']!r}; the address says {rule_id!r}")
        rule, created = await put_rule_document(hub, tenant_id, body, actor)
        return Json(rule_document(rule), status_code=201 if created else 200)

    @router.delete(
        "/alert-rules/{rule_id}",
        status_code=204,
        summary="Delete a rule / ルールの削除",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def delete(tenant_id: TenantId, rule_id: str, actor: RequestActor) -> Response:
        await remove_rule(hub, tenant_id, rule_id, actor)
        return Response(status_code=204)


def _takes_rules(schema: str) -> dict[str, Any]:
    taken = takes(schema)
    taken["requestBody"]["content"][YAML] = taken["requestBody"]["content"][JSON]
    return taken


async def _read_document(hub: Hub, request: Request) -> Any:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in _YAML_TYPES:
        content_type(request)
    body = await read_body(request, hub.settings.max_request_bytes)
    return read_yaml(body) if given in _YAML_TYPES else parse_body(body)


def _rules_of(document: Any) -> list[Any]:
    """The array itself, or the member ``rules``, as an export has it."""
    rules = document.get("rules") if isinstance(document, dict) else document
    if not isinstance(rules, list):
        raise BadRequestData("rules: an array is expected")
    return rules


def _put_document(put: Put) -> dict[str, Any]:
    return {"id": put.rule.id, "created": put.created, "warnings": put.warnings}


async def _question(hub: Hub, tenant_id: int, body: dict[str, Any]) -> ReplayQuestion:
    for name in body:
        if name not in ("from", "to", "rules", "entityIds"):
            raise BadRequestData(f"{name}: unknown member; known are entityIds, from, rules, to")
    end = _moment(body, "to") if "to" in body else datetime.now(UTC)
    start = _moment(body, "from")
    if start >= end:
        raise BadRequestData("from is not before to")
    ids = body.get("entityIds", [])
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise BadRequestData("entityIds: an array of URIs is expected")
    if "rules" in body:
        rules = [await read_rule(hub, tenant_id, _object(item), strict=False) for item in _rules_of(body["rules"])]
    else:
        async with hub.database.transaction(tenant_id) as connection:
            rules = await hub.alert_rules.list_rules(connection, tenant_id)
    return ReplayQuestion([rule for rule in rules if rule.enabled], start, end, tuple(ids))


def _object(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadRequestData("rules: an array of objects is expected")
    return item


def _moment(body: dict[str, Any], name: str) -> datetime:
    try:
        return parse_time(body.get(name))  # type: ignore[arg-type]
    except (TypeError, ValueError) as exc:
        raise BadRequestData(f"{name}: a time such as 2026-06-01T00:00:00+09:00 is expected") from exc
