# SPDX-License-Identifier: Apache-2.0
"""``/openapi.json`` and ``/docs``: the document for programs, and the same for people."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api.openapi import openapi_document
from api.openapi.page import write_page
from schemas.terms import JSON

DOCUMENT_PATH: Final = "/openapi.json"
PAGE_PATH: Final = "/docs"


def document_routes(app: FastAPI) -> list[Route]:
    """The routes about all routes of ``app``. Both are made at the first request, and once."""

    @cache
    def document() -> dict[str, Any]:
        return openapi_document(app.routes, app.version)

    @cache
    def encoded() -> bytes:
        return orjson.dumps(document())

    @cache
    def page() -> str:
        return write_page(document())

    return [
        _route(DOCUMENT_PATH, lambda: Response(encoded(), media_type=JSON)),
        _route(PAGE_PATH, lambda: HTMLResponse(page())),
    ]


def _route(path: str, respond: Callable[[], Response]) -> Route:
    async def endpoint(_: Request) -> Response:
        response = respond()
        response.headers["Cache-Control"] = "no-cache"
        return response

    return Route(path, endpoint, include_in_schema=False)
