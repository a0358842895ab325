# SPDX-License-Identifier: Apache-2.0
"""Connections and transactions.

Every transaction belongs to a tenant: row-level security compares the setting ``minamo.tenant`` with the row's
``tenant_id`` and refuses to work when it is unset. The hub's own work over all tenants uses :data:`ALL_TENANTS`.

Those of callers who are not staff (:mod:`context_store.audiences.callers`) have connections of their own, on which the
names of
tables lead to views of what the caller's audience may see (``seen.sql``).
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any, Final, LiteralString
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson
import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncRawCursor, sql
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from broker.errors import StoreUnavailable
from context_store.audiences.callers import STAFF, Caller, current_caller
from context_store.exchange import COMMIT, Bound, KnownConnection, Rows, Statement, exchange

SCHEMA: Final = "minamo"
ALL_TENANTS: Final = 0
SEEN_SCHEMA: Final = "minamo_seen"
_OPTIONS: Final = (  # without jit: compiling a condition on geometries takes longer than most queries run
    "-c timezone=UTC -c default_transaction_isolation=read\\ committed -c jit=off"
)
SESSION_OPTIONS: Final = f"-c search_path={SCHEMA},public {_OPTIONS}"
_SEEN_OPTIONS: Final = f"-c search_path={SEEN_SCHEMA},public {_OPTIONS}"

# Operational errors of a statement, not of the connection.
_NO_LOSS: Final = (
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.ProgramLimitExceeded,
)
SET_TENANT: Final = "select set_config('minamo.tenant', %s, true)"
# The begin of a transaction and its settings, in one message. Commands, since a question would have to be planned.
_BEGIN: Final = "begin; set local minamo.tenant = {tenant}"
_BEGIN_SNAPSHOT: Final = "begin isolation level repeatable read; set local minamo.tenant = {tenant}"
# For what may be lost with the server: its commit does not wait for the disk.
_UNSURE: Final = "; set local synchronous_commit = off"
# Plans are made once and not for each set of values. They use indexes, since a plan that was made while a table was
# small would go on reading all of it.
_BY_KEY: Final = "; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off"
# The caller of a transaction, as the views of what it may see ask for it.
_SET_CALLER: Final = "select set_config('minamo.audience', %s, true), set_config('minamo.caller', %s, true)"
# Of writers of history that leave the marks of :mod:`context_store.history.versions` themselves.
_MARKING: Final = "; set local minamo.marks_itself = on"
# Begin and settings of a transaction, for :func:`~context_store.exchange.exchange`.
_BEGIN_FIRST: Final = Statement("begin").of({})
_SET_MARKING_TENANT: Final = Statement(
    "select set_config('minamo.tenant', %(tenant)s, true), set_config('minamo.marks_itself', 'on', true)"
)
_BEGIN_READING: Final = Statement("begin read only").of({})
_SET_TENANT_FIRST: Final = Statement("select set_config('minamo.tenant', %(tenant)s, true)")
_SET_CALLER_FIRST: Final = Statement(
    "select set_config('minamo.audience', %(audience)s, true), set_config('minamo.caller', %(caller)s, true)"
)


@lru_cache(maxsize=1024)
def _begin(tenant_id: int, snapshot: bool, durable: bool, by_key: bool, marks_itself: bool) -> bytes:
    text = sql.SQL(
        (_BEGIN_SNAPSHOT if snapshot else _BEGIN)
        + ("" if durable else _UNSURE)
        + (_BY_KEY if by_key else "")
        + (_MARKING if marks_itself else "")
    )
    return text.format(tenant=sql.Literal(str(tenant_id))).as_bytes(None)


def sqlalchemy_url(database_url: str) -> str:
    """A libpq URL as SQLAlchemy wants it, with the hub's search path."""
    parts = urlsplit(database_url)
    query = dict(parse_qsl(parts.query))
    query["options"] = SESSION_OPTIONS
    return urlunsplit(("postgresql+psycopg", parts.netloc, parts.path, urlencode(query), ""))


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the loss of the database into :class:`StoreUnavailable`; other errors pass."""
    try:
        yield
    except (PoolTimeout, PoolClosed, psycopg.OperationalError, psycopg.InterfaceError) as exc:
        if isinstance(exc, _NO_LOSS):
            raise
        raise StoreUnavailable(str(exc).strip() or "the database does not answer") from exc


async def _check(connection: AsyncConnection) -> None:
    """Find a connection that broke while it waited, without a question to the database for each that did not.

    On an idle connection nothing arrives but the news that it ends.
    """
    news = select.poll()
    news.register(connection.fileno(), select.POLLIN)
    if news.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def _configure(connection: AsyncConnection) -> None:
    set_json_loads(orjson.loads, connection)
    set_json_dumps(orjson.dumps, connection)
    connection.prepare_threshold = 3


def _restricted(tenant_id: int) -> Caller | None:
    """The caller of a transaction of this tenant, unless it may see everything. Work over all tenants is the hub's."""
    caller = current_caller()
    if caller is STAFF or not caller.is_restricted or tenant_id == ALL_TENANTS:
        return None
    return caller


def _callers_settings(caller: Caller | None) -> list[Bound]:
    if caller is None:
        return []
    return [_SET_CALLER_FIRST.of({"audience": int(caller.audience), "caller": caller.name})]


class Database:
    """A pool of connections to one database.

    ``min_size`` connections are kept open, at most ``max_size`` are used at once; ``wait_s`` is how long a caller
    waits for one before :class:`StoreUnavailable`.
    """

    def __init__(self, url: str, *, min_size: int = 1, max_size: int = 8, wait_s: float = 5.0) -> None:
        self.url = url
        self._pool = self._make_pool(min_size, max_size, wait_s)
        # For small transactions inside another one (a new term, a new partition): were they to wait for the same
        # pool, all its connections could be held by callers that wait.
        self._aside = self._make_pool(0, 2, wait_s)
        # For callers who do not see everything. Plans that a connection keeps are of the views or of the tables.
        self._seen = self._make_pool(0, max_size, wait_s, _SEEN_OPTIONS)

    def _make_pool(
        self, min_size: int, max_size: int, wait_s: float, options: str = SESSION_OPTIONS
    ) -> AsyncConnectionPool:
        return AsyncConnectionPool(
            self.url,
            connection_class=KnownConnection,
            kwargs={"options": options, "application_name": "minamo", "autocommit": True},
            min_size=min_size,
            max_size=max_size,
            timeout=wait_s,
            open=False,
            configure=_configure,
            check=_check,
            reconnect_timeout=2.0,
        )

    async def open(self) -> None:
        """Start filling the pools; does not wait for the database to answer."""
        await self._pool.open(wait=False)
        await self._aside.open(wait=False)
        await self._seen.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()
        await self._aside.close()
        await self._seen.close()

    @asynccontextmanager
    async def transaction(
        self,
        tenant_id: int,
        *,
        aside: bool = False,
        snapshot: bool = False,
        durable: bool = True,
        by_key: bool = False,
        marks_itself: bool = False,
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction of ``tenant_id``: committed at the end of the block, rolled back when it raises.

        ``aside`` is for a small transaction that may run while the caller holds another one. With ``snapshot`` all
        its statements see the database as it is at the first of them. Without ``durable`` the commit does not wait
        for the disk: when the server dies in the next half second, it has never been. With ``by_key`` its statements
        find all they want by indexes, and are planned once. With ``marks_itself`` the caller changes the row of each
        entity whose history it adds to (:mod:`context_store.history.versions`).
        """
        caller = _restricted(tenant_id)
        pool = self._seen if caller else self._aside if aside else self._pool
        begin = _begin(tenant_id, snapshot, durable, by_key, marks_itself)
        with store_errors():
            async with pool.connection() as connection:
                await connection.execute(begin)
                try:
                    if caller:
                        await connection.execute(_SET_CALLER, (str(int(caller.audience)), caller.name))
                    yield connection
                except BaseException:
                    # When the connection is gone as well, why it ended is still what counts: a cancellation above all.
                    with suppress(psycopg.Error):
                        await connection.rollback()
                    raise
                await connection.commit()

    @asynccontextmanager
    async def marking_transaction(
        self, tenant_id: int, *first: Bound
    ) -> AsyncIterator[tuple[AsyncConnection, list[Rows]]]:
        """As :meth:`transaction` with ``marks_itself``, begun together with ``first`` statements; also their rows."""
        caller = _restricted(tenant_id)
        begin = [_BEGIN_FIRST, _SET_MARKING_TENANT.of({"tenant": tenant_id}), *_callers_settings(caller)]
        with store_errors():
            async with (self._seen if caller else self._pool).connection() as connection:  # commits, or rolls back
                yield connection, (await exchange(connection, *begin, *first))[len(begin) :]

    async def read_at_once(self, tenant_id: int, bound: Bound) -> Rows:
        """As :meth:`read`, in fewer messages."""
        caller = _restricted(tenant_id)
        begin = [_BEGIN_READING, _SET_TENANT_FIRST.of({"tenant": tenant_id}), *_callers_settings(caller)]
        with store_errors():
            async with (self._seen if caller else self._pool).connection() as connection:
                return (await exchange(connection, *begin, bound, COMMIT))[len(begin)]

    async def read(
        self, tenant_id: int, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """The rows of one statement that only reads, in a transaction of ``tenant_id``: one message there and back."""
        return await self._read(tenant_id, AsyncConnection.cursor, statement, values, prepare=True)

    async def read_built(
        self, tenant_id: int, statement: bytes, values: Sequence[Any], *, plan_once: bool = False
    ) -> list[tuple[Any, ...]]:
        """The same for a text that was built and has ``$1``, ``$2`` ... for the values.

        It is planned for its values each time; with ``plan_once``, where the plan does not depend on them,
        only until it has come a few times.
        """
        return await self._read(tenant_id, AsyncRawCursor, statement, values, prepare=None if plan_once else False)

    async def _read(
        self,
        tenant_id: int,
        make_cursor: Callable[[AsyncConnection], AsyncCursor[Any]],
        statement: LiteralString | bytes,
        values: Sequence[Any] | Mapping[str, Any],
        *,
        prepare: bool | None,
    ) -> list[tuple[Any, ...]]:
        caller = _restricted(tenant_id)
        with store_errors():
            async with (self._seen if caller else self._pool).connection() as connection:
                async with connection.pipeline():
                    await connection.execute("begin read only")
                    await connection.execute(SET_TENANT, (str(tenant_id),))
                    if caller:
                        await connection.execute(_SET_CALLER, (str(int(caller.audience)), caller.name))
                    cursor = make_cursor(connection)
                    await cursor.execute(statement, values, prepare=prepare)
                    await connection.execute("commit")
                return await cursor.fetchall()

    async def ping(self) -> None:
        """Raise :class:`StoreUnavailable` unless the database answers."""
        with store_errors():
            async with self._pool.connection(timeout=2.0) as connection:
                await connection.execute("select 1")

    async def listen_connection(self) -> AsyncConnection:
        """A connection of its own, in autocommit, for LISTEN."""
        with store_errors():
            return await AsyncConnection.connect(
                self.url, autocommit=True, options=SESSION_OPTIONS, application_name="minamo-listen"
            )
