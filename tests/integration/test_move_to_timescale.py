# SPDX-License-Identifier: Apache-2.0
"""History moves from native partitions into a hypertable whole, however often it is interrupted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_rollups import START, Asker, Scribe

from broker.errors import StoreUnavailable
from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import HISTORY, Partitions
from context_store.history.rollups import Rollups
from context_store.history.store_status import store_status
from context_store.history.to_timescale import move_to_timescale, undo_move
from support.cluster import Cluster

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@pytest.fixture
async def database(database_url: str, cluster: Cluster) -> AsyncIterator[Database]:
    """Two months of history with corrections, rolled."""
    if not cluster.has_timescaledb:
        pytest.skip("TimescaleDB is not installed for this PostgreSQL")
    opened = Database(database_url)
    await opened.open()
    await Partitions(opened, HISTORY).ensure([START, START + timedelta(days=20)])
    scribe = Scribe(opened, random.Random(5))
    await scribe.write(START, START + timedelta(days=20), 300, texts=0.02)
    for _ in range(6):
        await scribe.alter()
    await Rollups(opened).run(START + timedelta(days=21))
    yield opened
    await opened.close()


async def everything(database: Database) -> list[Any]:
    rows = []
    for table in ("attribute_instance", "rollup_10m", "rollup_1h", "rollup_1d"):
        async with database.transaction(ALL_TENANTS) as connection:
            statement = f"select t::text from {table} t order by 1"
            rows += await (await connection.execute(statement.encode())).fetchall()
    return rows


class Interrupted(Exception):
    pass


def interrupt(*_: object) -> None:
    raise Interrupted


async def test_an_interrupted_move_goes_on_and_nothing_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await everything(database)
    with pytest.raises(Interrupted):
        await move_to_timescale(database, interrupt)
    assert await everything(database) == before
    told: list[tuple[str, int, int]] = []
    assert await move_to_timescale(database, lambda *line: told.append(line))
    assert [line[2] for line in told] == list(range(len(told)))[::-1]
    assert await everything(database) == before
    assert (await store_status(database)).mode == "timescale"
    numbers = random.Random(6)
    asker, scribe = Asker(database, monkeypatch), Scribe(database, numbers)
    for _ in range(3):
        await scribe.write(START, START + timedelta(days=25), 20)
        await scribe.alter()
        async with database.transaction(1) as connection:
            await asker.agree(connection, numbers)
        await Rollups(database).run(START + timedelta(days=22))
    assert not await move_to_timescale(database)


async def test_nobody_writes_while_it_moves(database: Database) -> None:
    with pytest.raises(Interrupted):
        await move_to_timescale(database, interrupt)
    with pytest.raises(StoreUnavailable):
        await Scribe(database, random.Random(1)).write(START, START + timedelta(days=1), 1)


async def test_an_interrupted_move_can_be_given_up(database: Database) -> None:
    before = await everything(database)
    with pytest.raises(Interrupted):
        await move_to_timescale(database, interrupt)
    assert await undo_move(database)
    assert await everything(database) == before
    await Scribe(database, random.Random(1)).write(START, START + timedelta(days=1), 1)
    assert not await undo_move(database)


async def test_tenants_stay_apart(database: Database) -> None:
    await move_to_timescale(database)
    async with database.transaction(2) as connection:
        assert (await connection.execute("select 1 from attribute_instance")).rowcount == 0


async def test_the_status_is_json(database: Database) -> None:
    status = await store_status(database)
    document = status.document(datetime(2026, 4, 1, tzinfo=UTC))
    assert document["history"]["partitions"] == 2
    assert document["rolling"]["rolledUntil"] == START + timedelta(days=21) - timedelta(hours=1)
    assert document["rollups"].keys() == {"10m", "1h", "1d"}
    assert all(size["bytes"] > 0 for size in document["rollups"].values())
