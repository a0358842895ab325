# SPDX-License-Identifier: Apache-2.0
"""History: what questions cost through the API, with and without rollups, and what writing costs against plain COPY.

Native partitions and TimescaleDB one after the other, the same data: by default 10 million instances of 1,000 sensors.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString
from urllib.parse import quote

import httpx
import psycopg
from psycopg import sql

from api.embedded import EmbeddedHub
from api.settings import Settings
from bench.history_data import TEN_YEARS, City, add_ten_years, at, batches, history_table, make_city, number_rows
from bench.machine import description, percentiles
from bench.services import answering, child
from broker.times import to_text
from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import HISTORY, Partitions
from context_store.history.rollups import Rollups
from context_store.history.store_status import store_status
from context_store.history.timescale import apply_compression
from context_store.migrate import migrate
from tests.support.folders import free_port, temporary_folder

_LINK: Final = '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'
_TARGETS_MS: Final = {"30 days by the hour": 25, "ten years by the day": 50, "last of all, current state": 25}
_OLD_CHUNKS: Final[LiteralString] = """
    select count(*) from timescaledb_information.chunks
     where hypertable_name = 'attribute_instance_rows' and range_end < now() - interval '1 day'
"""
_COPY: Final[LiteralString] = """
    copy {} (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, kind, recorded_at,
             number_value, unit_code) from stdin (format binary)
"""
_COPY_TYPES: Final = [
    *["int8", "int4", "int4", "timestamptz", "int4", "int4", "int8", "int2", "timestamptz"],
    *["float8", "text"],
]


@dataclass
class Store:
    """A private server with one kind of store, and the hub's API on it."""

    mode: str
    database: Database
    url: str
    client: httpx.AsyncClient
    city: City
    lines: list[str] = field(default_factory=list)

    def say(self, what: str, figure: str) -> None:
        """One line of the result."""
        line = f"{self.mode:10} {what:44} {figure}"
        self.lines.append(line)
        print(line, flush=True)


@asynccontextmanager
async def running_store(mode: str, sensors: int, each: int) -> AsyncIterator[Store]:
    """Servers with the history loaded; nothing is left of them afterwards."""
    with temporary_folder() as folder:
        settings = Settings(
            data_dir=folder / "data", mqtt_port=free_port(), timescaledb="auto" if mode == "timescale" else "off"
        )
        async with EmbeddedHub(settings) as services:
            await asyncio.to_thread(migrate, services.database_url)
            database = Database(services.database_url)
            await database.open()
            begun = time.monotonic()
            city = await make_city(database, sensors, each, datetime.now(UTC))
            print(f"{mode:10} loaded in {time.monotonic() - begun:.0f} s", flush=True)
            port = free_port()
            environment = {
                "MINAMO_DATABASE_URL": services.database_url,
                "MINAMO_DATA_DIR": str(folder / "unused"),
                "MINAMO_HTTP_PORT": str(port),
                "MINAMO_TIMESCALE_COMPRESS_AFTER_DAYS": "3650",
                "MINAMO_TEMPORAL_ANSWERS_MB": "0",  # each question is computed
            }
            async with (
                child("-m", "api.cli", "serve", environment=environment, log=folder / "serve.log"),
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Link": _LINK}, timeout=120) as client,
            ):
                await answering(f"http://127.0.0.1:{port}/readyz", folder / "serve.log")
                yield Store(mode, database, services.database_url, client, city)
            await database.close()


def questions(city: City, sensors: int) -> dict[str, tuple[Callable[[int], str], int]]:
    """Paths by what they ask (given the number of a sensor), and how many values each has to bring at least."""
    until = (city.until - timedelta(days=1)).replace(hour=0, minute=0)

    def evolution(number: int, start: datetime, end: datetime, rest: str) -> str:
        range_ = f"timerel=between&timeAt={quote(to_text(start))}&endTimeAt={quote(to_text(end))}"
        return f"/ngsi-ld/v1/temporal/entities/{city.entity_id(number)}?attrs=waterLevel&{range_}&{rest}"

    def aggregated(days: int, period: str) -> Callable[[int], str]:
        rest = f"format=aggregatedValues&aggrMethods=avg,min,max&aggrPeriodDuration={period}"
        return lambda number: evolution(number, until - timedelta(days=days), until, rest)

    values = "options=temporalValues"
    every = f"type=WaterObserved&attrs=waterLevel&limit={sensors}"
    since = f"timerel=after&timeAt={quote(to_text(until))}&lastN=1"
    days = min(30, (until - city.start).days)
    return {
        "30 days by the hour": (aggregated(days, "PT1H"), days * 24),
        "ten years by the day": (aggregated(TEN_YEARS, "P1D"), TEN_YEARS - 40),
        "one day, all readings": (lambda number: evolution(number, until - timedelta(days=1), until, values), 280),
        "last of all, current state": (lambda _: f"/ngsi-ld/v1/entities?{every}&options=simplified", sensors),
        "last of all, history": (lambda _: f"/ngsi-ld/v1/temporal/entities?{every}&{since}&{values}", sensors),
    }


async def ask(store: Store, name: str, times: int, sensors: int) -> dict[str, float]:
    """Ask one question of random sensors, one after the other; milliseconds by percentile."""
    path, expected = questions(store.city, sensors)[name]
    numbers = random.Random(1)
    taken = []
    for turn in range(times + 3):
        begun = time.perf_counter()
        answer = await store.client.get(path(numbers.randrange(1, sensors + 1)))
        taken.append((time.perf_counter() - begun) * 1000)
        if turn == 0:
            assert answer.status_code == httpx.codes.OK, answer.text
            assert _values_in(answer.json()) >= expected, (name, _values_in(answer.json()), expected)
    return percentiles(taken[3:])  # the first ones fill caches


def _values_in(document: Any) -> int:
    """How many values an answer has: periods of a method, pairs of value and time, or entities."""
    if isinstance(document, list):
        return len(document)
    level = document["waterLevel"]
    return len(level.get("avg") or level["values"])


async def measure_questions(store: Store, sensors: int, times: int, label: str) -> None:
    """All questions that make sense in this state."""
    for name in questions(store.city, sensors):
        if label == "instances" and name == "ten years by the day":
            continue
        found = await ask(store, name, times if "all" not in name else max(times // 4, 5), sensors)
        target = f"  target p95 < {_TARGETS_MS[name]}" if name in _TARGETS_MS and label != "instances" else ""
        store.say(f"{name} ({label})", f"p50 {found['p50']:8.1f}  p95 {found['p95']:8.1f} ms{target}")


async def without_rollups(store: Store, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` while the hub believes that nothing is rolled."""
    async with store.database.transaction(ALL_TENANTS) as connection:
        await connection.execute("alter table rollup_state add column kept timestamptz")
        await connection.execute("update rollup_state set kept = rolled_until, rolled_until = '-infinity'")
    await work()
    async with store.database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update rollup_state set rolled_until = kept")
        await connection.execute("alter table rollup_state drop column kept")


async def roll(store: Store) -> None:
    """Roll everything up, then a thousand late readings."""
    begun = time.monotonic()
    await Rollups(store.database).run(datetime.now(UTC))
    store.say("rolling it up", f"{time.monotonic() - begun:8.1f} s")
    rows = number_rows(store.city, next(batches(store.city, store.city.start + timedelta(days=3, seconds=7), 1000, 3)))
    async with store.database.transaction(ALL_TENANTS) as connection:
        await rows.insert(connection, datetime.now(UTC))
    begun = time.monotonic()
    await Rollups(store.database).run(datetime.now(UTC))
    store.say("1,000 late readings, rolled again", f"{time.monotonic() - begun:8.2f} s")


async def disk(store: Store, what: str) -> None:
    """Bytes of a million instances, and of the rollups."""
    async with store.database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute("select count(*) from attribute_instance")).fetchone()
    status = await store_status(store.database)
    count = row[0] if row else 1
    sizes = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, (size, _) in status.rollups.items())
    store.say(f"disk of a million instances ({what})", f"{status.bytes / count:8.1f} MB; rollups {sizes}")


async def _vacuum(store: Store) -> None:
    """What autovacuum does in time."""
    options = "-c search_path=minamo,public"
    async with await psycopg.AsyncConnection.connect(store.url, autocommit=True, options=options) as connection:
        table = sql.Identifier(history_table(store.mode))
        await connection.execute(sql.SQL("vacuum analyze rollup_1h, rollup_1d, rollup_10m, {}").format(table))


async def compress(store: Store) -> None:
    """Let the policy compress the chunks whose instances are older than a day."""
    begun = time.monotonic()
    if not await apply_compression(store.database, timedelta(days=1)):
        return
    async with store.database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(_OLD_CHUNKS)).fetchone()
    while True:
        compression = (await store_status(store.database)).compression
        if compression is not None and row is not None and compression.chunks >= row[0]:
            break
        await asyncio.sleep(0.5)
    taken = time.monotonic() - begun
    await _vacuum(store)
    store.say(
        f"{compression.chunks} chunks compressed in {taken:.0f} s",
        f"{compression.bytes_before / 1e6:.0f} MB -> {compression.bytes_after / 1e6:.0f} MB "
        f"({compression.ratio or 0:.1f} : 1)",
    )


async def insert_rates(store: Store, size: int, first_day: int, given: argparse.Namespace) -> None:
    """Rows a second in batches of ``size``: plain binary COPY into the table, and the hub's statement, in turn.

    Then the hub's statement again while somebody asks.
    """
    rounds, seconds, sensors = given.rounds, given.seconds, given.sensors
    days = iter(range(first_day, first_day + 2 * rounds + 1))
    await Partitions(store.database, HISTORY).ensure(at(first_day + day) for day in range(2 * rounds + 2))
    copied, written = [], []
    for turn in range(rounds):
        copied.append(await _copy_rate(store, size, seconds, at(next(days)), turn))
        written.append(await _write_rate(store, size, seconds, at(next(days)), turn))
    ratios = [own / ceiling for own, ceiling in zip(written, copied, strict=True)]
    store.say(
        f"insert, batches of {size:,}",
        f"COPY {statistics.median(copied):,.0f}, hub {statistics.median(written):,.0f} rows/s, ratio "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})  target 0.5",
    )
    stop = asyncio.Event()
    taken: list[float] = []
    asking = asyncio.create_task(_ask_until(store, stop, taken, sensors))
    rate = await _write_rate(store, size, seconds, at(next(days)), rounds)
    stop.set()
    await asking
    found = percentiles(taken)
    store.say(
        f"the same while somebody asks, {size:,}",
        f"hub {rate:,.0f} rows/s; 30 days by the hour p50 {found['p50']:.1f} p95 {found['p95']:.1f} ms",
    )


async def _ask_until(store: Store, stop: asyncio.Event, taken: list[float], sensors: int) -> None:
    path, _ = questions(store.city, sensors)["30 days by the hour"]
    numbers = random.Random(2)
    while not stop.is_set():
        begun = time.perf_counter()
        await store.client.get(path(numbers.randrange(1, sensors + 1)))
        taken.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.02)


async def _copy_rate(store: Store, size: int, seconds: float, begin: datetime, seed: int) -> float:
    """Without triggers, as the plain table would be; each batch a transaction."""
    statement = sql.SQL(_COPY).format(sql.Identifier(history_table(store.mode)))
    now, made = datetime.now(UTC), batches(store.city, begin, size, seed)
    await _triggers(store, on=False)
    spent, count = 0.0, 0
    while spent < seconds:
        rows = [
            (key, 1, store.city.level, moment, 0, 1, seed, 1, now, value, "MTR") for key, moment, value in next(made)
        ]
        async with store.database.transaction(ALL_TENANTS) as connection:
            begun = time.perf_counter()
            async with connection.cursor().copy(statement) as copy:
                copy.set_types(_COPY_TYPES)
                for row in rows:
                    await copy.write_row(row)
        spent += time.perf_counter() - begun
        count += size
    await _triggers(store, on=True)
    return count / spent


async def _write_rate(store: Store, size: int, seconds: float, begin: datetime, seed: int) -> float:
    made = batches(store.city, begin, size, seed)
    spent, count = 0.0, 0
    while spent < seconds:
        rows = number_rows(store.city, next(made))
        async with store.database.transaction(ALL_TENANTS, marks_itself=True) as connection:
            begun = time.perf_counter()
            await rows.insert(connection, datetime.now(UTC), repeats=False)
        spent += time.perf_counter() - begun
        count += size
        await asyncio.sleep(0)
    return count / spent


async def _triggers(store: Store, *, on: bool) -> None:
    """Switch what a plain table has not: what notes and marks, and row-level security, which refuses COPY."""
    state, table = sql.SQL("enable" if on else "disable"), sql.Identifier(history_table(store.mode))
    async with store.database.transaction(ALL_TENANTS) as connection:
        for trigger in ("history_added", "history_marked_added"):
            await connection.execute(
                sql.SQL("alter table {} {} trigger {}").format(table, state, sql.Identifier(trigger))
            )
        if store.mode == "native":
            await connection.execute(sql.SQL("alter table {} {} row level security").format(table, state))


async def measure(mode: str, given: argparse.Namespace) -> list[str]:
    """Everything about one kind of store."""
    sensors, each = given.sensors, given.instances // given.sensors
    async with running_store(mode, sensors, each) as store:
        async with store.database.transaction(ALL_TENANTS) as connection:
            await connection.execute("analyze")
        await roll(store)
        await add_ten_years(store.database, store.city)
        await _vacuum(store)
        await disk(store, "as written")
        await without_rollups(store, lambda: measure_questions(store, sensors, given.times, "instances"))
        await measure_questions(store, sensors, given.times, "rollups")
        for size, first_day in ((1_000, 0), (10_000, 100)):
            await insert_rates(store, size, first_day, given)
        if mode == "timescale":
            await compress(store)
            await disk(store, "compressed")
            await without_rollups(store, lambda: measure_questions(store, sensors, given.times, "instances"))
            await measure_questions(store, sensors, given.times, "rollups")
        return store.lines


async def main() -> None:
    """Both stores, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000_000)
    parser.add_argument("--sensors", type=int, default=1_000)
    parser.add_argument("--times", type=int, default=100, help="how often each question is asked")
    parser.add_argument("--rounds", type=int, default=3, help="of inserting")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--mode", choices=["native", "timescale"], action="append")
    parser.add_argument("--quick", action="store_true", help="2 million instances of 200 sensors, one round")
    given = parser.parse_args()
    if given.quick:
        given.instances, given.sensors, given.times, given.rounds, given.seconds = 2_000_000, 200, 40, 1, 2.0
    print(description())
    results = [line for mode in given.mode or ["native", "timescale"] for line in await measure(mode, given)]
    print(f"\nload at the end {os.getloadavg()[0]:.1f}", *results, sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
