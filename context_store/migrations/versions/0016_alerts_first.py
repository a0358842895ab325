# SPDX-License-Identifier: Apache-2.0
"""Subscriptions are told of alerts by a consumer of their own, which does not wait behind all other changes."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0016_alerts_first.sql."""
    run_sql("0016_alerts_first.sql")
