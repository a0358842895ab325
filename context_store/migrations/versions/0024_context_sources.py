# SPDX-License-Identifier: Apache-2.0
"""Context source registrations."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0024_context_sources.sql."""
    run_sql("0024_context_sources.sql")
