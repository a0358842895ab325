# SPDX-License-Identifier: Apache-2.0
"""People who take part in drills."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0032_drill_contacts.sql."""
    run_sql("0032_drill_contacts.sql")
