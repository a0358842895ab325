# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/import``: history from a file, a part of it at a time."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from adapters.files.history_csv import HistoryReader
from api.http.negotiation import created_tenant, existing_tenant, read_body
from api.http.requests import TenantName
from api.http.responses import Json
from api.hub import Hub
from api.openapi.answers import WITH_BODY, shared
from api.openapi.plain import answers
from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData, Conflict
from broker.history.imports import ImportResult, ImportRules, Part
from context_store.history.imports import HistoryImport
from schemas.contexts import MINAMO_CONTEXT

_CSV: Final = "text/csv"
_PART_ROWS: Final = 20_000  # in a transaction
_BODY: Final = {"requestBody": {"required": True, "content": {_CSV: {"schema": {"type": "string"}}}}}


def import_router(hub: Hub) -> APIRouter:
    """The route on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["history"])
    store = HistoryImport(hub.database, hub.terms, hub.history, hub.writer)

    @router.post(
        "/import",
        summary="History from a part of a file / 履歴ファイルの取り込み",
        responses=answers("ImportResult", Conflict)
        | {status: shared(name) for status, name in WITH_BODY.items() if status != 415},
        openapi_extra=_BODY,
    )
    async def import_history(
        request: Request,
        tenant: TenantName = None,  # noqa: ARG001 - described; it is read with the rules of the NGSI-LD API
        create: Annotated[bool, Query(description="Make entities that are not there")] = False,
        as_recorded: Annotated[bool, Query(alias="asRecorded", description="A copy of another hub's history")] = False,
        dry_run: Annotated[bool, Query(alias="dryRun", description="Do everything and take it back")] = False,
    ) -> Json:
        tenant_id = await (created_tenant if create and not dry_run else existing_tenant)(request, hub.tenants)
        body = await read_body(request, hub.settings.max_request_bytes)
        terms = await hub.contexts.resolve(MINAMO_CONTEXT)
        latest = datetime.now(UTC) + timedelta(seconds=hub.settings.future_tolerance_s)
        parts = _parts(body, terms, latest, as_recorded=as_recorded)
        rules = ImportRules(create=create, as_recorded=as_recorded, dry_run=dry_run)
        result = ImportResult()
        # While the database takes one part, the next one is read.
        part = await asyncio.to_thread(next, parts, None)
        while part is not None:
            following = asyncio.create_task(asyncio.to_thread(next, parts, None))
            try:
                result.add(await store.commit(tenant_id, part, rules))
            finally:
                part = await following
        return Json(_document(result))

    return router


def _parts(body: bytes, terms: TermMap, latest: datetime, *, as_recorded: bool) -> Iterator[Part]:
    try:
        header, _, rows = body.decode("utf-8-sig").partition("\n")
    except UnicodeDecodeError as exc:
        raise BadRequestData(f"The file is not UTF-8: {exc.reason} at byte {exc.start}") from exc
    if "\0" in rows:
        raise BadRequestData("The file has a NUL character (U+0000), which cannot be stored")
    try:
        names = next(csv.reader([header.rstrip("\r")]), [])
    except csv.Error as exc:
        raise BadRequestData(f"The first line is not CSV: {exc}") from exc
    return HistoryReader(names, terms.expand_term, latest, as_recorded=as_recorded).parts(rows, _PART_ROWS)


def _document(result: ImportResult) -> dict[str, Any]:
    document = asdict(result)
    document["rejected"] = [rejected._asdict() for rejected in result.rejected]
    return document
