# SPDX-License-Identifier: Apache-2.0
"""Hours and days of one attribute are read from the index alone: in the table, each lies on a page of its own."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0020_rollups_by_index.sql."""
    run_sql("0020_rollups_by_index.sql")
