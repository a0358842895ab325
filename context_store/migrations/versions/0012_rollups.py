# SPDX-License-Identifier: Apache-2.0
"""Rollups of history: 10 minutes, 1 hour, 1 day; what has to be rolled again is noted by triggers."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0012_rollups.sql."""
    run_sql("0012_rollups.sql")
