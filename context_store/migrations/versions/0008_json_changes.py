# SPDX-License-Identifier: Apache-2.0
"""The changes of change events are kept as text: nobody looks into them, and every write pays for parsing."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0008_json_changes.sql."""
    run_sql("0008_json_changes.sql")
