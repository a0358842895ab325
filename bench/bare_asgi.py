# SPDX-License-Identifier: Apache-2.0
"""The ceilings of the HTTP API: a bare ASGI application with one SQL statement a request, or with gathered ones.

No framework, no validation, no JSON-LD, no history, no events: bytes in, one statement, bytes out. ``one`` sends a
statement a request over a pool; ``many`` reads concurrent requests with one ``= any`` and commits concurrent writes
together. Run by :mod:`bench.http_api` under uvicorn, as the hub is.

The table ``bare_entity`` holds the same entities as the hub's, without row-level security.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, LiteralString
from urllib.parse import parse_qs, unquote

import orjson
from psycopg import AsyncConnection
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool

_POOL: Final = 8
_MOST: Final = 256  # requests in one gathered statement

_GET: Final[LiteralString] = "select document from bare_entity where id = %s"
_GET_MANY: Final[LiteralString] = "select id, document from bare_entity where id = any(%s)"
_QUERY: Final[LiteralString] = """
    select document from bare_entity
     where types @> array[%s] and (document -> %s -> '@none' ->> 'value')::float8 > %s order by id limit 20
"""
_INSERT: Final[LiteralString] = "insert into bare_entity (id, types, document) values (%s, '{}', %s::jsonb)"
_UPDATE: Final[LiteralString] = "update bare_entity set document = document || %s::jsonb where id = %s"
_UPDATE_MANY: Final[LiteralString] = """
    update bare_entity e set document = e.document || p.patch::jsonb
      from unnest(%s::text[], %s::text[]) as p (id, patch) where e.id = p.id
"""
_UPSERT: Final[LiteralString] = """
    insert into bare_entity (id, types, document)
    select r.id, '{}', r.document::jsonb from unnest(%s::text[], %s::text[]) as r (id, document) order by r.id
    on conflict (id) do update set document = bare_entity.document || excluded.document
"""

Work = Callable[[AsyncConnection, list[Any]], Awaitable[list[Any]]]


class Gathered:
    """Does what is asked for while the last statement ran with the next one; no timer."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._running: asyncio.Task[None] | None = None

    def ask(self, pool: AsyncConnectionPool, item: Any) -> asyncio.Future[Any]:
        """The result for ``item``, to be awaited."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run(pool))
        return future

    async def _run(self, pool: AsyncConnectionPool) -> None:
        async with pool.connection() as connection:
            while self._waiting:
                asked, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                results = await self._work(connection, [item for item, _ in asked])
                for (_, future), result in zip(asked, results, strict=True):
                    future.set_result(result)
        self._running = None


async def _get_many(connection: AsyncConnection, ids: list[str]) -> list[bytes | None]:
    rows = dict(await (await connection.execute(_GET_MANY, (ids,), prepare=True)).fetchall())
    return [rows.get(name) for name in ids]


async def _update_many(connection: AsyncConnection, items: list[tuple[str, str]]) -> list[None]:
    patches = dict(items)  # the last one wins: the ceiling need not be right
    ids = sorted(patches)
    await connection.execute(_UPDATE_MANY, (ids, [patches[name] for name in ids]), prepare=True)
    return [None] * len(items)


class _Bytes(TextLoader):
    """jsonb as the bytes it is sent as."""

    def load(self, data: Any) -> Any:
        return bytes(data)


async def _configure(connection: AsyncConnection) -> None:
    await connection.set_autocommit(True)
    connection.adapters.register_loader("jsonb", _Bytes)


class Bare:
    """The application."""

    def __init__(self) -> None:
        self._pool = AsyncConnectionPool(
            os.environ["BENCH_DATABASE_URL"], min_size=_POOL, max_size=_POOL, open=False, configure=_configure
        )
        self._reads = Gathered(_get_many)
        self._writes = Gathered(_update_many)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer; ``/one/...`` with a statement a request, ``/many/...`` with gathered ones."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        _, way, kind, *rest = scope["path"].split("/")
        body = b""
        if scope["method"] != "GET":
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
        status, answer = await self._answer(way, kind, unquote(rest[0]) if rest else "", scope, body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers if answer else []})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, way: str, kind: str, name: str, scope: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        if kind == "get":
            found = await (self._reads.ask(self._pool, name) if way == "many" else self._get(name))
            return (200, found) if found else (404, b"{}")
        if kind == "patch" and way == "many":
            await self._writes.ask(self._pool, (name, body.decode()))
            return 204, b""
        return await self._one(kind, name, scope, body)

    async def _one(self, kind: str, name: str, scope: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        async with self._pool.connection() as connection:
            if kind == "patch":
                await connection.execute(_UPDATE, (body.decode(), name))
                return 204, b""
            if kind == "create":
                await connection.execute(_INSERT, (orjson.loads(body)["id"], body.decode()))
                return 201, b""
            if kind == "batch":
                entities = {item["id"]: orjson.dumps(item).decode() for item in orjson.loads(body)}
                await connection.execute(_UPSERT, (list(entities), list(entities.values())))
                return 204, b""
            asked = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
            values = (asked["type"], asked["attribute"], float(asked["above"]))
            rows = await (await connection.execute(_QUERY, values)).fetchall()
            return 200, b"[" + b",".join(row[0] for row in rows) + b"]"

    async def _get(self, name: str) -> bytes | None:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_GET, (name,))).fetchone()
        return row[0] if row else None

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        await self._pool.open(wait=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})


app = Bare()
