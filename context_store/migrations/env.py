# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry point: runs on the connection that :func:`context_store.migrate.migrate` opened."""

from __future__ import annotations

from alembic import context

from context_store.database import SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    version_table="schema_version",
    version_table_schema=SCHEMA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
