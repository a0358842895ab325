# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/export``: the history of a period as CSV or Parquet, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from adapters.files.history_parquet import ParquetWriter
from api.http.requests import QUALITIES, TenantId, parse_moment, parse_qualities
from api.hub import Hub
from api.ngsild.queries import QueryInput, entity_query
from api.openapi.plain import answers
from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData, OperationNotSupported
from broker.history.rows import COLUMNS
from context_store.history.export import ExportQuestion, ExportStore
from schemas.contexts import MINAMO_CONTEXT

_HEADER: Final = (",".join(COLUMNS) + "\n").encode()
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_ANSWERS: Final = answers(None, OperationNotSupported)
_ANSWERS[200]["content"] = {
    "text/csv": {"schema": {"type": "string"}},
    _MEDIA_TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
}


Blocks = AsyncGenerator[bytes, None]


class _File(StreamingResponse):
    """A stream whose source is closed whatever ends it: it holds a transaction."""

    def __init__(self, blocks: Blocks, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(blocks, media_type=media_type, headers=headers)
        self._blocks = blocks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._blocks):
            await super().__call__(scope, receive, send)


def export_router(hub: Hub) -> APIRouter:
    """The route on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["history"])
    # Each holds a connection and a snapshot for as long as its reader takes.
    turns = asyncio.Semaphore(hub.settings.export_concurrency)

    @router.get(
        "/export",
        summary="History of a period as a file / 期間の履歴をファイルで",
        responses=_ANSWERS,
        response_model=None,
    )
    async def export(
        tenant_id: TenantId,
        form: Annotated[Literal["csv", "parquet"], Query(alias="format")] = "csv",
        start: Annotated[str | None, Query(alias="from", description="ISO 8601, included")] = None,
        end: Annotated[str | None, Query(alias="to", description="ISO 8601, not included")] = None,
        ids: Annotated[str | None, Query(alias="id", description="URIs, comma-separated")] = None,
        id_pattern: Annotated[str | None, Query(alias="idPattern")] = None,
        types: Annotated[str | None, Query(alias="type", description="As in NGSI-LD queries")] = None,
        attrs: Annotated[str | None, Query(description="Names or IRIs, comma-separated")] = None,
        q: Annotated[str | None, Query(description="As in NGSI-LD temporal queries")] = None,
        scope_q: Annotated[str | None, Query(alias="scopeQ")] = None,
        as_known_at: Annotated[
            str | None, Query(alias="asKnownAt", description="What was believed at this time")
        ] = None,
        corrections: Annotated[bool, Query(description="Also what is believed no longer")] = False,
        quality: Annotated[str | None, Query(description=QUALITIES)] = None,
        encoding: Annotated[Literal["utf-8", "utf-8-sig"], Query(description="utf-8-sig for Excel")] = "utf-8",
        spreadsheet: Annotated[bool, Query(description="Texts that look like formulas are made harmless")] = False,
    ) -> Response:
        if corrections and as_known_at:
            raise BadRequestData("corrections and asKnownAt exclude each other")
        terms = await hub.contexts.resolve(MINAMO_CONTEXT)
        wanted = QueryInput(ids=ids, id_pattern=id_pattern, types=types, q=q, scope_q=scope_q)
        question = ExportQuestion(
            entity_query(wanted, terms),
            tuple(terms.expand_term(name) for name in attrs.split(",")) if attrs else None,
            parse_moment(start, "from") if start else None,
            parse_moment(end, "to") if end else None,
            parse_moment(as_known_at, "asKnownAt") if as_known_at else None,
            corrections,
            spreadsheet,
            parse_qualities(quality),
        )
        lines = ExportStore(hub.database, hub.terms, _names(terms)).lines(tenant_id, question)
        mark = _BYTE_ORDER_MARK if encoding == "utf-8-sig" else b""
        stream = _in_turn(turns, _parquet(lines, ParquetWriter()) if form == "parquet" else _csv(lines, mark))
        first = await anext(stream)  # so that a fault in the request is an answer and not a broken file
        name = f"minamo-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{form}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return _File(_with_first(first, stream), _MEDIA_TYPES[form], headers)

    return router


def _names(terms: TermMap) -> Callable[[str], str]:
    """Short names for IRIs where they lead back to the IRI."""

    def name(iri: str) -> str:
        short = terms.compact_iri(iri)
        return short if short == iri or terms.expand_term(short) == iri else iri

    return name


async def _in_turn(turns: asyncio.Semaphore, blocks: Blocks) -> Blocks:
    async with turns, aclosing(blocks):
        async for block in blocks:
            yield block


async def _with_first(first: bytes, blocks: Blocks) -> Blocks:
    async with aclosing(blocks):
        yield first
        async for block in blocks:
            yield block


async def _csv(lines: Blocks, mark: bytes) -> Blocks:
    async with aclosing(lines):
        head = mark + _HEADER
        async for block in lines:
            yield head + block
            head = b""
        if head:
            yield head


async def _parquet(lines: Blocks, writer: ParquetWriter) -> Blocks:
    async with aclosing(lines):
        async for block in lines:
            if ready := await asyncio.to_thread(writer.feed, block):
                yield ready
        yield await asyncio.to_thread(writer.close)
