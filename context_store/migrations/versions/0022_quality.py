# SPDX-License-Identifier: Apache-2.0
"""Decisions about the quality of values."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0022_quality.sql."""
    run_sql("0022_quality.sql")
