# SPDX-License-Identifier: Apache-2.0
"""Indexes for pages of a type, for the beginnings of ids and for scopes."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0011_entity_indexes.sql."""
    run_sql("0011_entity_indexes.sql")
