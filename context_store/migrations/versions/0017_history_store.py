# SPDX-License-Identifier: Apache-2.0
"""History behind a view where TimescaleDB keeps it; how long what is kept, by tenant and type."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0017_history_store.sql."""
    run_sql("0017_history_store.sql")
