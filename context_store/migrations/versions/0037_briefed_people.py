# SPDX-License-Identifier: Apache-2.0
"""People who were briefed."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0037_briefed_people.sql."""
    run_sql("0037_briefed_people.sql")
