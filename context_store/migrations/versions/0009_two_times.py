# SPDX-License-Identifier: Apache-2.0
"""Two times: since when and until when the hub believed an instance; how good it is."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0009_two_times.sql."""
    run_sql("0009_two_times.sql")
