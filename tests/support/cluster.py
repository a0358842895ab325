# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL cluster for a test run, with a migrated template for each way of storing history.

The cluster is the embedded one, made and started by the code that makes and starts it in production. A database for
a test is a copy of a template: some hundredths of a second, and nothing of another test in it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import psycopg
from psycopg import sql

from api.embedded.postgres import ROLE, SUPERUSER, EmbeddedPostgres
from api.embedded.state import DataFolder
from context_store.migrate import migrate

from .folders import temporary_folder

StoreMode = Literal["native", "timescale"]

# Durability against a power failure is not what tests can see, and it costs them half their time; so the cluster is
# in memory where there is room, and its write-ahead log is kept short. Background workers of TimescaleDB would keep
# databases from being copied and dropped; tests run its jobs themselves.
_OPTIONS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "max_connections": "200",
    "timescaledb.max_background_workers": "0",
}
_HAS_STRATEGIES: Final = 150000  # PostgreSQL 14 copies files, and knows no other way


class Cluster:
    """A running cluster. Methods are synchronous: fixtures of any scope can use them."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        self._made: set[str] = set()

    @property
    def has_timescaledb(self) -> bool:
        """Whether the mode ``timescale`` can be tested here."""
        return self.server.has_timescaledb

    def url(self, database: str, role: str = ROLE) -> str:
        """URL of a database, by default for the role that the hub has (no superuser)."""
        return self.server.url(database, role)

    def create_empty(self, mode: StoreMode = "native") -> str:
        """A database with the extensions and nothing else; its name."""
        return self._copy(self._extended(mode), f"empty_{next(self._numbers)}")

    def create_migrated(self, mode: StoreMode) -> str:
        """A database at the newest revision; its name."""
        return self._copy(self._migrated(mode), f"test_{next(self._numbers)}")

    def drop(self, name: str) -> None:
        """Drop a database and whoever is connected to it."""
        with self.admin("postgres") as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    @contextmanager
    def admin(self, database: str) -> Iterator[psycopg.Connection]:
        """A superuser's connection that commits each statement. Row-level security does not hold for it."""
        with psycopg.connect(self.url(database, SUPERUSER), autocommit=True) as connection:
            yield connection

    def _extended(self, mode: StoreMode) -> str:
        """The template with the extensions."""
        name = f"extended_{mode}"
        if name not in self._made:
            self._copy("template1", name)
            with self.admin(name) as connection:
                if mode == "timescale":
                    connection.execute("create extension timescaledb")
                connection.execute("create extension postgis")
            self._made.add(name)
        return name

    def _migrated(self, mode: StoreMode) -> str:
        """The template at the newest revision."""
        name = f"migrated_{mode}"
        if name not in self._made:
            migrate(self.url(self._copy(self._extended(mode), name)))
            self._made.add(name)
        return name

    def _copy(self, template: str, name: str) -> str:
        """File by file: through the write-ahead log it takes three times as long."""
        with self.admin("postgres") as connection:
            is_choosable = connection.info.server_version >= _HAS_STRATEGIES
            connection.execute(
                sql.SQL("create database {} template {} owner {}{}").format(
                    sql.Identifier(name),
                    sql.Identifier(template),
                    sql.Identifier(ROLE),
                    sql.SQL(" strategy file_copy" if is_choosable else ""),
                )
            )
        return name


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster in a temporary folder; nothing of it is left afterwards."""
    with temporary_folder(in_memory=True) as path, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        folder = DataFolder(path)
        folder.open()
        with folder.locked():
            server = EmbeddedPostgres(folder, shared_buffers_mb=128, options=_OPTIONS)
            runner.run(server.start())
            try:
                yield Cluster(server)
            finally:
                runner.run(server.stop())
