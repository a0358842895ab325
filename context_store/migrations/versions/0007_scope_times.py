# SPDX-License-Identifier: Apache-2.0
"""Scopes may be observed at another time than the hub learned of them."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0007_scope_times.sql."""
    run_sql("0007_scope_times.sql")
