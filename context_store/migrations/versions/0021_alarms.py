# SPDX-License-Identifier: Apache-2.0
"""Alarms with their steps, incidents, timers of silence, and the audit of what people did."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0021_alarms.sql."""
    run_sql("0021_alarms.sql")
