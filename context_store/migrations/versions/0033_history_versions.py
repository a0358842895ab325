# SPDX-License-Identifier: Apache-2.0
"""What tells whether the history of an entity has changed."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0033_history_versions.sql."""
    run_sql("0033_history_versions.sql")
