# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: periods, the feed after a restore, the last state of deleted entities."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0002_subscriptions.sql."""
    run_sql("0002_subscriptions.sql")
