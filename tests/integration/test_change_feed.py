# SPDX-License-Identifier: Apache-2.0
"""The feed of change events brings each event to each consumer exactly once, whatever the order of commits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import AsyncConnection

from broker.entities import AttributeChange
from context_store.database import ALL_TENANTS, SET_TENANT, Database
from context_store.events import ChangeFeed, consumer_lag, insert_event
from context_store.history.partitions import CHANGES, Partitions

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

CHANGE = AttributeChange("https://example.org/level", "@none", None, {"type": "Property", "value": 1})


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, max_size=12)
    await database.open()
    await Partitions(database, CHANGES).ensure_ahead(datetime.now(UTC), 2)
    yield database
    await database.close()


@pytest.fixture
async def writers(database: Database) -> AsyncIterator[list[AsyncConnection]]:
    """Three connections for transactions that stay open."""
    connections = [await database.listen_connection() for _ in range(3)]
    for connection in connections:
        await connection.set_autocommit(False)
        await connection.execute(SET_TENANT.replace("true", "false"), ("0",))
        await connection.commit()
    yield connections
    for connection in connections:
        await connection.close()


async def write(connection: AsyncConnection, entity_id: str) -> None:
    await insert_event(connection, (1, 1, entity_id, ["https://example.org/River"]), "updated", [CHANGE], 0)


async def write_now(database: Database, *entity_ids: str) -> None:
    for entity_id in entity_ids:
        async with database.transaction(ALL_TENANTS) as connection:
            await write(connection, entity_id)


async def read(feed: ChangeFeed) -> list[str]:
    async with feed.batch() as (_, events):
        return [event.entity_id for event in events]


async def read_all(feed: ChangeFeed) -> list[str]:
    found: list[str] = []
    while batch := await read(feed):
        found += batch
    return found


@pytest.fixture
def feed(database: Database) -> ChangeFeed:
    return ChangeFeed(database, "subscriptions")


async def test_events_come_in_order_and_once(database: Database, feed: ChangeFeed) -> None:
    await write_now(database, "a", "b", "c")
    assert await read(feed) == ["a", "b", "c"]
    assert await read(feed) == []
    await write_now(database, "d")
    assert await read(feed) == ["d"]


async def test_event_with_a_low_number_that_commits_late_is_not_missed(
    database: Database, feed: ChangeFeed, writers: list[AsyncConnection]
) -> None:
    await write(writers[0], "early number, late commit")
    await write_now(database, "late number, early commit")
    assert await read(feed) == ["late number, early commit"]
    await writers[0].commit()
    assert await read(feed) == ["early number, late commit"]
    assert await read(feed) == []


async def test_transaction_that_took_its_number_after_others_were_read_is_not_missed(
    database: Database, feed: ChangeFeed, writers: list[AsyncConnection]
) -> None:
    await writers[0].execute("select pg_current_xact_id()")  # an old transaction that has not written its event yet
    await write_now(database, "a")
    assert await read(feed) == ["a"]
    await write(writers[0], "b")
    await write_now(database, "c")
    assert await read(feed) == ["c"]
    await writers[0].commit()
    assert await read(feed) == ["b"]


async def test_long_open_writer_does_not_hold_up_others(
    database: Database, feed: ChangeFeed, writers: list[AsyncConnection]
) -> None:
    await write(writers[0], "open")
    for entity_id in ("a", "b", "c"):
        await write_now(database, entity_id)
        assert await read(feed) == [entity_id]
    await writers[0].commit()
    assert await read(feed) == ["open"]


async def test_event_of_a_transaction_that_was_rolled_back_never_comes(
    database: Database, feed: ChangeFeed, writers: list[AsyncConnection]
) -> None:
    await write(writers[0], "undone")
    await write_now(database, "a")
    assert await read(feed) == ["a"]
    await writers[0].rollback()
    await write_now(database, "b")
    assert await read(feed) == ["b"]


async def test_late_commit_while_a_window_is_read_in_pages(database: Database, writers: list[AsyncConnection]) -> None:
    feed = ChangeFeed(database, "subscriptions", limit=2)
    await write(writers[0], "late")
    await write_now(database, "a", "b", "c", "d", "e")
    assert await read(feed) == ["a", "b"]
    await writers[0].commit()
    assert await read(feed) == ["c", "d"]
    await write_now(database, "f")
    assert await read(feed) == ["e"]
    assert await read_all(feed) == ["late", "f"]


async def test_full_last_page_ends_the_window(database: Database) -> None:
    feed = ChangeFeed(database, "subscriptions", limit=2)
    await write_now(database, "a", "b")
    assert await read(feed) == ["a", "b"]
    assert await read(feed) == []
    await write_now(database, "c")
    assert await read(feed) == ["c"]


async def test_consumers_are_independent(database: Database, feed: ChangeFeed) -> None:
    other = ChangeFeed(database, "alerts")
    await write_now(database, "a")
    assert await read(feed) == ["a"]
    await write_now(database, "b")
    assert await read(other) == ["a", "b"]
    assert await read(feed) == ["b"]


async def test_batch_that_raises_comes_again(database: Database, feed: ChangeFeed) -> None:
    await write_now(database, "a")
    with pytest.raises(RuntimeError):
        async with feed.batch():
            raise RuntimeError
    assert await read(feed) == ["a"]


async def test_effects_of_a_batch_are_undone_with_it(database: Database, feed: ChangeFeed) -> None:
    await write_now(database, "a")
    with pytest.raises(RuntimeError):
        async with feed.batch() as (connection, _):
            await write(connection, "effect")
            raise RuntimeError
    assert await read(feed) == ["a"]
    assert await read(feed) == []


async def test_events_written_by_a_batch_come_with_the_next(database: Database, feed: ChangeFeed) -> None:
    await write_now(database, "a")
    async with feed.batch() as (connection, _):
        await write(connection, "effect")
    assert await read(feed) == ["effect"]


async def test_two_readers_of_one_consumer_share_without_repeating(database: Database, feed: ChangeFeed) -> None:
    await write_now(database, "a")
    async with feed.batch() as (_, events):
        assert len(events) == 1
        assert await read(feed) == []
    assert await read(feed) == []


async def test_nothing_is_missed_or_repeated_under_many_writers_and_readers(database: Database) -> None:
    written: list[str] = []
    read_by: dict[str, list[str]] = {"alerts": [], "subscriptions": []}
    writing = True

    async def writer(number: int) -> None:
        chance = random.Random(number)
        for turn in range(40):
            names = [f"{number}:{turn}:{part}" for part in range(chance.randint(1, 3))]
            try:
                async with database.transaction(ALL_TENANTS) as connection:
                    for name in names:
                        await write(connection, name)
                        await asyncio.sleep(chance.choice((0, 0, 0, 0.01)))
                    if chance.random() < 0.1:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                continue
            written.extend(names)

    async def reader(name: str, seed: int) -> None:
        feed, chance = ChangeFeed(database, name, limit=5), random.Random(seed)
        while True:
            done = not writing
            try:
                async with feed.batch() as (_, events):
                    if events and chance.random() < 0.1:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                continue
            read_by[name] += [event.entity_id for event in events]
            if done and not events:
                return
            await asyncio.sleep(chance.choice((0, 0, 0.01)))

    readers = [asyncio.create_task(reader(name, seed)) for seed, name in enumerate((*read_by, *read_by))]
    await asyncio.gather(*(writer(number) for number in range(6)))
    writing = False
    await asyncio.gather(*readers)
    for name in read_by:
        read_by[name] += await read_all(ChangeFeed(database, name))
    assert {name: sorted(found) for name, found in read_by.items()} == dict.fromkeys(read_by, sorted(written))


def move_to_another_cluster(database_url: str, ahead: int) -> None:
    """Make the database look as if it had been dumped in a cluster whose transaction numbers are ``ahead``."""
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=minamo,public") as connection:
        connection.execute("select set_config('minamo.tenant', '0', false)")
        connection.execute(
            "update change_event set transaction_id = (transaction_id::text::bigint + %s)::text::xid8", (ahead,)
        )
        rows = connection.execute(
            "select name, done_snapshot::text, window_snapshot::text from change_consumer"
        ).fetchall()
        for name, *snapshots in rows:
            moved = [snapshot and _moved(snapshot, ahead) for snapshot in snapshots]
            connection.execute(
                """update change_consumer set done_snapshot = %s::pg_snapshot, window_snapshot = %s::pg_snapshot,
                          system_identifier = case when system_identifier is not null then 42 end where name = %s""",
                (*moved, name),
            )


def _moved(snapshot: str, ahead: int) -> str:
    xmin, xmax, running = snapshot.split(":")
    return f"{int(xmin) + ahead}:{int(xmax) + ahead}:{','.join(str(int(x) + ahead) for x in running.split(',') if x)}"


@pytest.mark.parametrize("ahead", [1_000_000_000, -500])
async def test_restore_into_another_cluster_neither_repeats_nor_loses_events(
    database: Database, database_url: str, feed: ChangeFeed, writers: list[AsyncConnection], ahead: int
) -> None:
    other, untouched = ChangeFeed(database, "alerts"), ["late", "a", "b"]
    await write(writers[0], "late")
    await write_now(database, "a")
    assert await read(feed) == ["a"]
    await writers[0].commit()
    await write_now(database, "b")
    move_to_another_cluster(database_url, ahead)
    await write_now(database, "after the restore")
    assert await read(feed) == ["late", "b", "after the restore"]
    await write_now(database, "later")
    assert await read(feed) == ["later"]
    assert await read(other) == [*untouched, "after the restore", "later"]


async def test_restore_in_the_middle_of_a_window(
    database: Database, database_url: str, writers: list[AsyncConnection]
) -> None:
    feed = ChangeFeed(database, "subscriptions", limit=2)
    await write(writers[0], "late")
    await write_now(database, "a", "b", "c", "d", "e")
    assert await read(feed) == ["a", "b"]
    await writers[0].commit()
    move_to_another_cluster(database_url, 1_000_000_000)
    assert await read(feed) == ["late", "c"]
    move_to_another_cluster(database_url, 1_000_000_000)
    assert await read_all(feed) == ["d", "e"]


async def test_restore_with_consumers_at_different_places(
    database: Database, database_url: str, feed: ChangeFeed
) -> None:
    other = ChangeFeed(database, "alerts")
    await write_now(database, "a", "b")
    assert await read(other) == ["a", "b"]
    await write_now(database, "c")
    assert await read(feed) == ["a", "b", "c"]
    move_to_another_cluster(database_url, 1_000_000_000)
    await write_now(database, "d")
    assert await read(feed) == ["d"]
    await write_now(database, "e")
    assert await read(other) == ["c", "d", "e"]
    assert await read(feed) == ["e"]


async def positions(database: Database) -> list[tuple[str, str]]:
    """Which versions of their rows the consumers' positions are: another after each writing."""
    async with database.transaction(ALL_TENANTS) as connection:
        found = await connection.execute("select xmin::text, ctid::text from change_consumer order by name")
        return [(xmin, ctid) for xmin, ctid in await found.fetchall()]


async def test_looking_for_news_writes_nothing(database: Database, feed: ChangeFeed) -> None:
    await write_now(database, "a")
    await read(feed)
    before = await positions(database)
    for _ in range(3):
        assert await read(feed) == []
    assert await positions(database) == before


ALERT = "https://example.org/Alert"


async def write_alert(database: Database, entity_id: str) -> None:
    async with database.transaction(ALL_TENANTS) as connection:
        await insert_event(connection, (1, 1, entity_id, ["https://example.org/Thing", ALERT]), "updated", [CHANGE], 0)


async def test_two_consumers_share_the_events_by_type(database: Database) -> None:
    others = ChangeFeed(database, "subscriptions", limit=2, without=ALERT)
    alerts = ChangeFeed(database, "subscriptions of alerts", limit=2, only=ALERT)
    for turn in range(3):
        await write_now(database, *(f"{turn}:{n}" for n in range(3)))
        await write_alert(database, f"alert {turn}")
        assert await read_all(alerts) == [f"alert {turn}"]
        assert await read_all(others) == [f"{turn}:{n}" for n in range(3)]


async def test_consumer_that_passes_events_over_is_not_behind(database: Database) -> None:
    alerts = ChangeFeed(database, "subscriptions of alerts", only=ALERT)
    await write_now(database, "a", "b")
    assert await read_all(alerts) == []
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update change_consumer set updated_at = now() - interval '1 minute'")
    assert await read_all(alerts) == []
    async with database.transaction(ALL_TENANTS) as connection:
        assert (await consumer_lag(connection))["subscriptions of alerts"][0] == 0
