# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to registrations."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0034_source_subscriptions.sql."""
    run_sql("0034_source_subscriptions.sql")
