# SPDX-License-Identifier: Apache-2.0
"""Indexes for alerts as messages: the chain of a station, the newest ones of a status."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0019_alert_messages.sql."""
    run_sql("0019_alert_messages.sql")
