# SPDX-License-Identifier: Apache-2.0
"""Several statements in one message to PostgreSQL, and their results in one back: for the hot paths.

psycopg's pipeline sends each statement by itself, and looks at the socket before and after. What is known beforehand
goes out together here, by the functions of libpq that psycopg is made of (:mod:`psycopg.pq`): half of the processor
time of this process, and PostgreSQL is woken once. Statements are prepared on each connection when they first come.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, abc, pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

from context_store.arrays import PackedArray

Value: TypeAlias = PackedArray | datetime | str | int | None
Rows: TypeAlias = list[tuple[Any, ...]]

_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)[sb]")
_TEXT: Final = int(pq.Format.TEXT)
_BINARY: Final = int(pq.Format.BINARY)


class Statement:
    """A text with psycopg's placeholders ``%(name)s``; values that are no arrays are sent as texts."""

    def __init__(self, text: LiteralString) -> None:
        numbers: dict[str, int] = {}
        numbered = _PLACEHOLDER.sub(lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", text)
        self.text: Final = numbered.encode()
        self.name: Final = b"minamo_" + hashlib.blake2b(self.text, digest_size=12).hexdigest().encode()
        self._names = tuple(numbers)

    def of(self, values: Mapping[str, Value]) -> Bound:
        """The statement with those of ``values`` that it names."""
        given = [values[name] for name in self._names]
        formats = [_BINARY if isinstance(value, PackedArray) else _TEXT for value in given]
        return Bound(self.name, self.text, [_sent(value) for value in given], formats)


class Bound(NamedTuple):
    """A statement with its values as they are sent."""

    name: bytes
    text: bytes
    values: list[bytes | None]
    formats: list[int]


COMMIT: Final = Statement("commit").of({})

_prepared: Final[WeakKeyDictionary[AsyncConnection, set[bytes]]] = WeakKeyDictionary()
"""The statements that each connection knows, by their names."""


class KnownConnection(AsyncConnection):
    """A connection that forgets what was prepared when psycopg has PostgreSQL forget it: after each ``rollback``."""

    def _deallocate(self, name: bytes | None) -> abc.PQGen[None]:
        if name is None:
            _prepared.pop(self, None)
        return super()._deallocate(name)


async def exchange(connection: AsyncConnection, *bound: Bound) -> list[Rows]:
    """Do the statements one after the other; the rows of each. The connection is doing nothing else.

    Where psycopg prepares statements too, it has to be a :class:`KnownConnection`.

    When one fails, those after it are not done, and its error is raised: ``commit`` may come last. Who is cancelled
    loses the connection, since nobody knows what of it was done.
    """
    libpq = connection.pgconn
    known = _prepared.setdefault(connection, set())
    new = {one.name: one.text for one in bound if one.name not in known}
    try:
        libpq.enter_pipeline_mode()
        _send(libpq, new, bound)
        results = await _received(libpq)
        libpq.exit_pipeline_mode()
    except BaseException:
        await connection.close()
        raise
    known.update(name for name, result in zip(new, results, strict=False) if result.status == pq.ExecStatus.COMMAND_OK)
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise error_from_result(result, connection.info.encoding)
    reader = Transformer(connection)
    return [_rows(reader, result) for result in results[len(new) :]]


def _send(libpq: pq.abc.PGconn, new: Mapping[bytes, bytes], bound: Sequence[Bound]) -> None:
    for name, text in new.items():
        libpq.send_prepare(name, text)
    for name, _, values, formats in bound:
        libpq.send_query_prepared(name, values, formats)
    libpq.pipeline_sync()


async def _received(libpq: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """The results of all that was sent, one for each."""
    while libpq.flush():
        await _ready(libpq.socket, to_write=True)
        libpq.consume_input()  # what comes meanwhile has to be taken, or both would wait for each other
    results: list[pq.abc.PGresult] = []
    while True:
        while libpq.is_busy():
            await _ready(libpq.socket)
            libpq.consume_input()
        result = libpq.get_result()
        if result is None:  # between those of two statements
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)


async def _ready(descriptor: int, *, to_write: bool = False) -> None:
    """Wait until the socket can be read, or also written."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    if to_write:
        loop.add_writer(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        if to_write:
            loop.remove_writer(descriptor)


def _rows(reader: abc.Transformer, result: pq.abc.PGresult) -> Rows:
    if result.status != pq.ExecStatus.TUPLES_OK:
        return []
    reader.set_pgresult(result)
    return reader.load_rows(0, result.ntuples, tuple)


def _sent(value: Value) -> bytes | None:
    if value is None or isinstance(value, PackedArray):
        return value
    return (value.isoformat() if isinstance(value, datetime) else str(value)).encode()
