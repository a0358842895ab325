# SPDX-License-Identifier: Apache-2.0
"""How notifications are sent, and what of it is secret."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0013_sending.sql."""
    run_sql("0013_sending.sql")
