# SPDX-License-Identifier: Apache-2.0
"""Several statements in one message: what comes back, what becomes of errors and of who is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from api.hub import Hub
from broker.errors import StoreUnavailable
from context_store.arrays import bigints
from context_store.exchange import COMMIT, Statement, exchange

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

SUM = Statement("select sum(n), %(name)s::text from unnest(%(numbers)b::bigint[]) as n")
DIVIDE = Statement("select 1 / %(by)s::int")
REPEAT = Statement("select %(text)s::text, repeat('x', length(%(text)s))")
SLEEP = Statement("select pg_sleep(60)")
BACKEND = Statement("select pg_backend_pid()").of({})
END_BACKEND = Statement("select pg_terminate_backend(pg_backend_pid())").of({})
TENANT = Statement("select current_setting('minamo.tenant')").of({})


@pytest.fixture
async def connection(hub: Hub) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(hub.database.url, autocommit=True) as connection:
        yield connection


def is_idle(connection: AsyncConnection) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


async def test_each_statement_gives_its_rows(connection: AsyncConnection) -> None:
    numbers = SUM.of({"numbers": bigints([1, 2, 3]), "name": "a", "more": 1})
    for _ in range(2):  # prepared, and known
        assert await exchange(connection, numbers, DIVIDE.of({"by": 1}), numbers) == [[(6, "a")], [(1,)], [(6, "a")]]


async def test_nothing_is_done_after_an_error(connection: AsyncConnection) -> None:
    begin, make = Statement("begin").of({}), Statement("create table made ()").of({})
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
            await exchange(connection, begin, DIVIDE.of({"by": 0}), make, COMMIT)
        assert connection.info.transaction_status == TransactionStatus.INERROR
        await connection.rollback()
    assert await exchange(connection, Statement("select to_regclass('made') is null").of({})) == [[(True,)]]
    assert is_idle(connection)


async def test_a_statement_that_cannot_be_prepared_leaves_those_before_it_known(connection: AsyncConnection) -> None:
    nonsense = Statement("select nothing from nowhere").of({})
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await exchange(connection, DIVIDE.of({"by": 1}), nonsense)
        assert is_idle(connection)
    assert await exchange(connection, DIVIDE.of({"by": 1})) == [[(1,)]]


async def test_more_than_the_socket_takes_in_both_directions(connection: AsyncConnection) -> None:
    text = "水" * 2_000_000
    found = await exchange(connection, *[REPEAT.of({"text": text})] * 3)
    assert found == [[(text, "x" * len(text))]] * 3


async def test_who_is_cancelled_loses_the_connection(connection: AsyncConnection) -> None:
    asked = asyncio.create_task(exchange(connection, SLEEP.of({})))
    await asyncio.sleep(0)  # it has sent and waits
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert connection.closed


async def test_a_lost_server_is_an_operational_error(connection: AsyncConnection) -> None:
    with pytest.raises(psycopg.OperationalError):
        await exchange(connection, END_BACKEND)
    assert connection.closed


async def test_a_transaction_begins_with_its_first_statements(hub: Hub) -> None:
    async with hub.database.marking_transaction(7, TENANT) as (connection, rows):
        assert rows == [[("7",)]]
        assert connection.info.transaction_status == TransactionStatus.INTRANS
    assert is_idle(connection)


async def test_a_transaction_whose_first_statement_fails_leaves_its_connection_usable(hub: Hub) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with hub.database.marking_transaction(7, BACKEND, DIVIDE.of({"by": 0})):
            pytest.fail("it has not begun")
    async with hub.database.marking_transaction(7, TENANT) as (_, rows):
        assert rows == [[("7",)]]


async def test_a_transaction_without_a_server_is_told_as_such(hub: Hub) -> None:
    with pytest.raises(StoreUnavailable):
        async with hub.database.marking_transaction(7, END_BACKEND):
            pytest.fail("it has not begun")


async def test_one_statement_that_reads_leaves_no_transaction_open(hub: Hub) -> None:
    assert await hub.database.read_at_once(7, TENANT) == [("7",)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await hub.database.read_at_once(7, Statement("create table made ()").of({}))
    assert await hub.database.read_at_once(8, TENANT) == [("8",)]


async def test_statements_are_prepared_anew_after_psycopg_had_all_of_them_forgotten(hub: Hub) -> None:
    """As it does after a transaction that was rolled back, when it had prepared something."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with hub.database.marking_transaction(7, TENANT) as (connection, _rows):
                await connection.execute("select 1", prepare=True)
                raise ZeroDivisionError
    async with hub.database.marking_transaction(7, TENANT) as (_, rows):
        assert rows == [[("7",)]]
