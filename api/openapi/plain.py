# SPDX-License-Identifier: Apache-2.0
"""The hub's own API in the OpenAPI document: what FastAPI knows of it, and what its routes add to that.

A route says what it answers::

    @router.get("/devices", responses=answers("Devices"))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.routing import BaseRoute

from api.openapi.answers import EVERYWHERE, WITH_BODY, problems, shared
from api.openapi.building import Schema, ref
from broker.errors import BadRequestData, InvalidRequest, NgsiLdError, NonexistentTenant, ResourceNotFound
from schemas.terms import JSON

EVENT_STREAM: Final = "text/event-stream"

NEEDED: Final = (ResourceNotFound,)
"""The error of a route that is about one thing."""

TAGS: Final = {
    "stations": "What the live page shows / 観測局",
    "history": "Series for charts, history as files / 時系列と履歴ファイル",
    "alerts": "Alerts and the rules behind them / 警報と警報ルール",
    "alarms": "Alarms by station and river, what people did / 警報への対応、事案、監査記録",
    "forecasts": "What models say, and how good it was / 予測とその検証",
    "audiences": "What is public, for the briefed, for staff / 公開範囲",
    "contacts": "Who is told about alarms, and who was / 連絡先と送信記録",
    "drills": "Exercises that reach nobody but the chosen / 訓練",
    "deliveries": "How deliveries go, what was given up, catching up and pulling / 配信",
    "devices": "Sensors, and messages that could not be taken / センサーと隔離されたメッセージ",
    "operation": "Is the hub well / 稼働状態",
}


def answers(
    schema: str | None = None,
    *errors: type[NgsiLdError],
    statuses: Sequence[int] = (200,),
    media_type: str = JSON,
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: a body of ``schema`` under each of ``statuses``, and ``errors`` beside the usual ones."""
    written: dict[int | str, dict[str, Any]] = {
        status: {"description": "Created" if status == 201 else "What was asked for"} for status in statuses
    }
    if schema:
        for status in statuses:
            written[status]["content"] = {media_type: {"schema": ref(schema)}}
    written |= problems({BadRequestData, InvalidRequest, NonexistentTenant, *errors})
    return written | {status: shared(name) for status, name in EVERYWHERE.items()}


def takes(schema: str) -> dict[str, Any]:
    """What a route adds to the document (``openapi_extra``) for a body of ``schema``."""
    return {
        "requestBody": {"required": True, "content": {JSON: {"schema": ref(schema)}}},
        "responses": {str(status): shared(name) for status, name in WITH_BODY.items()},
    }


def plain_paths(routes: Sequence[BaseRoute]) -> dict[str, Schema]:
    """The path items of FastAPI's routes. They answer 400 where FastAPI would say 422."""
    paths: dict[str, Schema] = get_openapi(title="", version="", routes=routes).get("paths", {})
    for item in paths.values():
        for operation in item.values():
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
    return paths


def _without_null(schema: Schema) -> Schema:
    """The schema of a parameter that may be absent: in a URL and in a header nothing is null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}


def _operation(name: str, summary: str, statuses: Schema, *, is_open: bool = False) -> Schema:
    written: Schema = {"operationId": name, "summary": summary, "tags": ["operation"], "responses": statuses}
    return {"get": written | ({"security": [{}]} if is_open else {})}


def _json(schema: str, meaning: str) -> Schema:
    return {"description": meaning, "content": {JSON: {"schema": ref(schema)}}}


OPERATION_PATHS: Final[dict[str, Schema]] = {
    "/healthz": _operation(
        "healthz", "Is the process alive / 生存確認", {"200": _json("Alive", "It is")}, is_open=True
    ),
    "/readyz": _operation(
        "readyz",
        "Can the hub do its work, and if not, which part is down / 準備確認",
        {"200": _json("Readiness", "It can"), "503": _json("Readiness", "A part is down")},
        is_open=True,
    ),
    "/metrics": _operation(
        "metrics",
        "Metrics of Prometheus / メトリクス",
        {
            "200": {"description": "All metrics", "content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}},
            "401": shared("Unauthorized"),
        },
    ),
}
"""The routes of :mod:`api.health`."""
