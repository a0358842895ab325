# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL cluster for a test run, with a migrated template for each way of storing history.

The cluster is the embedded one, made and started by the code that makes and starts it in production. A database for
a test is a copy of a template: a fraction of a second, and nothing of another test in it.
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

# Durability against a power failure is not what tests can see, and it costs them half their time. Background workers
# of TimescaleDB would keep databases from being copied and dropped; tests run its jobs themselves.
_OPTIONS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "timescaledb.max_background_workers": "0",
}


class Cluster:
    """A running cluster. Methods are synchronous: fixtures of any scope can use them."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        self._templates: dict[StoreMode, str] = {}

    @property
    def has_timescaledb(self) -> bool:
        """Whether the mode ``timescale`` can be tested here."""
        return self.server.has_timescaledb

    def url(self, database: str, role: str = ROLE) -> str:
        """URL of a database, by default for the role that the hub has (no superuser)."""
        return self.server.url(database, role)

    def create_empty(self, mode: StoreMode = "native", name: str | None = None) -> str:
        """A database with the extensions and nothing else; its name."""
        name = name or f"empty_{next(self._numbers)}"
        self._execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(ROLE)))
        with self.admin(name) as connection:
            if mode == "timescale":
                connection.execute("create extension timescaledb")
            connection.execute("create extension postgis")
        return name

    def create_migrated(self, mode: StoreMode) -> str:
        """A database at the newest revision; its name."""
        name = f"test_{next(self._numbers)}"
        self._execute(
            sql.SQL("create database {} template {} owner {}").format(
                sql.Identifier(name), sql.Identifier(self._template(mode)), sql.Identifier(ROLE)
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Drop a database and whoever is connected to it."""
        self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    @contextmanager
    def admin(self, database: str) -> Iterator[psycopg.Connection]:
        """A superuser's connection that commits each statement. Row-level security does not hold for it."""
        with psycopg.connect(self.url(database, SUPERUSER), autocommit=True) as connection:
            yield connection

    def _template(self, mode: StoreMode) -> str:
        if mode not in self._templates:
            name = self.create_empty(mode, f"template_{mode}")
            migrate(self.url(name))
            self._templates[mode] = name
        return self._templates[mode]

    def _execute(self, statement: sql.Composed) -> None:
        with self.admin("postgres") as connection:
            connection.execute(statement)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster in a temporary folder; nothing of it is left afterwards."""
    with temporary_folder() as path, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        folder = DataFolder(path)
        folder.open()
        with folder.locked():
            server = EmbeddedPostgres(folder, shared_buffers_mb=128, options=_OPTIONS)
            runner.run(server.start())
            try:
                yield Cluster(server)
            finally:
                runner.run(server.stop())
