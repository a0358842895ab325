# SPDX-License-Identifier: Apache-2.0
"""Where other brokers send their notifications."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0031_inboxes.sql."""
    run_sql("0031_inboxes.sql")
