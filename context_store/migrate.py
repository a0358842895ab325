# SPDX-License-Identifier: Apache-2.0
"""Bring a database to the newest schema: Alembic under a lock, so that any number of processes may try at once."""

from __future__ import annotations

from importlib import resources

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from context_store.audiences.seen import FORGET_VIEWS, are_made, make_views
from context_store.database import SCHEMA, sqlalchemy_url

# One lock for all processes of one hub ("mina" in ASCII); held for the session of the migration.
_MIGRATION_LOCK = 0x6D696E61


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("context_store") / "migrations"))
    return config


def newest_revision() -> str:
    """The revision this version of the hub needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _upgrade(connection: sa.Connection, config: Config, revision: str) -> None:
    """Bring the tables to ``revision`` and the views with them, in one transaction."""
    newest = newest_revision()
    if not are_made(connection, newest):
        connection.execute(sa.text(FORGET_VIEWS))
        command.upgrade(config, revision)
        if revision in ("head", newest):
            make_views(connection, newest)
    connection.commit()


def migrate(database_url: str, revision: str = "head") -> str:
    """Migrate the database at ``database_url`` (a libpq URL) to ``revision`` and return the newest revision.

    The extension PostGIS must be there or the role be allowed to create it, and so must the schemas ``minamo`` and
    ``minamo_seen``, which are the role's; TimescaleDB is used when its extension
    is already in the database at the first migration.
    """
    config = _config()
    engine = sa.create_engine(sqlalchemy_url(database_url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(_MIGRATION_LOCK)))
            # "if not exists" would ask for the right to make one also where it is there.
            if connection.scalar(sa.select(sa.func.to_regnamespace(SCHEMA).is_(None))):
                connection.execute(sa.schema.CreateSchema(SCHEMA))
            connection.execute(sa.text("create extension if not exists postgis"))
            connection.commit()
            config.attributes["connection"] = connection
            _upgrade(connection, config, revision)
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_MIGRATION_LOCK)))
            connection.commit()
    finally:
        engine.dispose()
    return newest_revision()
