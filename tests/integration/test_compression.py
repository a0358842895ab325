# SPDX-License-Identifier: Apache-2.0
"""Compressed history is read, corrected and removed as any other."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from test_rollups import START, Asker, Scribe

from context_store.database import ALL_TENANTS, Database
from context_store.history.rollups import Rollups
from context_store.history.timescale import apply_compression
from support.cluster import Cluster


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()


def compress(cluster: Cluster, name: str) -> int:
    """Do what the policy does in the background; the number of compressed chunks."""
    with cluster.admin(name) as admin:
        for (job,) in admin.execute(
            "select job_id from timescaledb_information.jobs where hypertable_name is not null"
        ):
            admin.execute("call run_job(%s)", (job,))
        return admin.execute("select 1 from timescaledb_information.chunks where is_compressed").rowcount


@pytest.mark.parametrize("store_mode", ["timescale"], indirect=True)
async def test_answers_stay_right_whatever_is_written_into_compressed_chunks(
    database: Database, database_name: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = random.Random(3)
    scribe, rollups, asker = Scribe(database, numbers), Rollups(database), Asker(database, monkeypatch)
    await scribe.write(START - timedelta(days=20), START, 400)
    await rollups.run(START)
    assert await apply_compression(database, timedelta(days=3))
    assert compress(cluster, database_name) >= 2
    for _ in range(6):
        await scribe.write(START - timedelta(days=15), START, 5)
        await scribe.alter()
        async with database.transaction(1) as connection:
            await asker.agree(connection, numbers)
        await rollups.step(START)
    await rollups.run(START)
    async with database.transaction(1) as connection:
        await asker.agree(connection, numbers)


@pytest.mark.parametrize("store_mode", ["timescale"], indirect=True)
async def test_the_age_can_be_changed_and_taken_away(database: Database) -> None:
    for days in (30, 30, 5, None):
        after = None if days is None else timedelta(days=days)
        assert await apply_compression(database, after)
        async with database.transaction(ALL_TENANTS) as connection:
            rows = await (
                await connection.execute(
                    "select (config ->> 'compress_after')::interval from timescaledb_information.jobs "
                    "where hypertable_name is not null"
                )
            ).fetchall()
        assert rows == ([] if after is None else [(after,)])


@pytest.mark.parametrize("store_mode", ["native"], indirect=True)
async def test_native_partitions_are_not_compressed(database: Database) -> None:
    assert not await apply_compression(database, timedelta(days=3))
