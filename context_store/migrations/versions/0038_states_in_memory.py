# SPDX-License-Identifier: Apache-2.0
"""States of alert rules in the memory of the worker."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0038_states_in_memory.sql."""
    run_sql("0038_states_in_memory.sql")
