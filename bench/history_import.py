# SPDX-License-Identifier: Apache-2.0
"""How fast history files are imported and exported, beside plain binary COPY into the same table in the same run.

``python -m bench.history_import [--rows 1000000] [--rounds 3]``. A hub (``minamo serve``) and ``minamo import`` are
processes of their own, as an operator runs them; the file is CSV, each round has sensors of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
from psycopg import sql

from api.embedded.postgres import SUPERUSER
from bench.machine import cpu_seconds, description
from bench.services import ROOT, Bench, answering, child, running_services
from context_store.history.writing import value_hash
from tests.support.folders import free_port

_START: Final = datetime(2015, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(minutes=15)
_YEAR: Final = 35_040  # readings
_BATCH: Final = 20_000  # rows in a transaction, as the import has them
_COPY: Final = (
    "copy {} (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash,"
    " kind, recorded_at, number_value, unit_code) from stdin (format binary)"
)
_TYPES: Final = ("int8", "int4", "int4", "timestamptz", "int4", "int4", "int8", "int2", "timestamptz", "float8", "text")


def readings(rows: int, sensor: int) -> Iterator[tuple[int, datetime, float]]:
    """(sensor, time, value) of ``rows`` readings: years of sensors, one after the other, from ``sensor`` on."""
    for number in range(rows):
        yield sensor + number // _YEAR, _START + (number % _YEAR) * _STEP, (number * 7919 % 10_007) / 1000


def write_file(path: Path, rows: int, sensor: int) -> None:
    """The file to import."""
    with path.open("w") as file:
        file.write("entityId,type,attribute,observedAt,value,unitCode\n")
        for number, at, value in readings(rows, sensor):
            file.write(
                f"urn:ngsi-ld:WaterObserved:{number},WaterObserved,waterLevel,{at:%Y-%m-%dT%H:%M:%SZ},{value},MTR\n"
            )


def plain_copy(url: str, rows: int, sensor: int) -> float:
    """Rows a second of psycopg's binary COPY by a role that row-level security does not hold for."""
    now = datetime.now(UTC)
    with psycopg.connect(url, options="-c search_path=minamo,public") as connection:
        # With TimescaleDB the name of the table is that of a view of the hypertable.
        table = "attribute_instance_rows"
        if connection.execute("select to_regclass(%s)", (table,)).fetchone() == (None,):
            table = "attribute_instance"
        source = readings(rows, sensor)
        packed = [
            (1_000_000 + number, 1, 1, at, 0, 0, value_hash(value), 1, now, value, "MTR")
            for number, at, value in source
        ]
        started = time.perf_counter()
        for begin in range(0, rows, _BATCH):
            with connection.cursor().copy(sql.SQL(_COPY).format(sql.Identifier(table))) as copy:
                copy.set_types(_TYPES)
                for row in packed[begin : begin + _BATCH]:
                    copy.write_row(row)
            connection.commit()
        return rows / (time.perf_counter() - started)


def command(port: int, *arguments: str) -> float:
    """Seconds of a command of ``minamo``."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments, "--url", f"http://127.0.0.1:{port}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return time.perf_counter() - started


def superuser_url(bench: Bench) -> str:
    """Of the database of the hub."""
    assert bench.services.postgres is not None
    return bench.services.postgres.url("minamo", SUPERUSER)


async def measure(rows: int, rounds: int) -> None:
    """Rounds of plain COPY and import, in turn; then a repeat and exports."""
    async with running_services(0) as bench:
        port = free_port()
        environment = bench.hub_environment() | {"MINAMO_HTTP_PORT": str(port)}
        log = bench.folder / "serve.log"
        async with child("-m", "api.cli", "serve", environment=environment, log=log) as hub:
            await answering(f"http://127.0.0.1:{port}/readyz", log)
            await asyncio.to_thread(_rounds, bench, hub.pid, port, rows, rounds)


def _cpu_s(bench: Bench, hub: int) -> Any:
    """Processor time so far of this process with its commands, the hub and PostgreSQL."""
    own = os.times()
    client = own.user + own.system + own.children_user + own.children_system
    return np.array([client, cpu_seconds([hub]), bench.server_cpu_s()["postgres"]])


def _rounds(bench: Bench, hub: int, port: int, rows: int, rounds: int) -> None:
    url = superuser_url(bench)
    file = bench.folder / "history.csv"
    # Partitions, caches, plans: a first year of both kinds is not counted.
    write_file(file, _YEAR, 0)
    command(port, "import", str(file), "--create")
    plain_copy(url, _YEAR, 0)
    ratios = []
    for number in range(1, rounds + 1):
        sensor = number * 1000
        write_file(file, rows, sensor)
        used = _cpu_s(bench, hub)
        ceiling = plain_copy(url, rows, sensor)
        copied = _cpu_s(bench, hub) - used
        ours = rows / command(port, "import", str(file), "--create")
        used, copied = _cpu_s(bench, hub) - used - copied, copied
        ratios.append(ours / ceiling)
        print(f"round {number}: COPY {ceiling:,.0f} rows/s, import {ours:,.0f} rows/s, ratio {ratios[-1]:.2f}")
        copy_us, import_us = (np.round(seconds * 1e6 / rows, 1).tolist() for seconds in (copied, used))
        print(f"  processor, us a row of (commands, hub, postgres): COPY {copy_us}, import {import_us}", flush=True)
    again = rows / command(port, "import", str(file))
    print(f"import: median ratio {statistics.median(ratios):.2f} (target 0.50)")
    print(f"the same file again: {again:,.0f} rows/s")
    out = bench.folder / "out"
    total = (rounds * rows) + _YEAR
    for form in ("csv", "parquet"):
        seconds = command(port, "export", "--format", form, "-o", str(out))
        print(f"export {form}: {total / seconds:,.0f} rows/s, {out.stat().st_size / 1e6:,.0f} MB of {total:,} rows")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given: Any = parser.parse_args()
    print(description())
    asyncio.run(measure(given.rows, given.rounds))


if __name__ == "__main__":
    main()
