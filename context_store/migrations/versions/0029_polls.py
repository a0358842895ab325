# SPDX-License-Identifier: Apache-2.0
"""Documents of others that are fetched on a schedule."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0029_polls.sql."""
    run_sql("0029_polls.sql")
