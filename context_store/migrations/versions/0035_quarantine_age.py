# SPDX-License-Identifier: Apache-2.0
"""Quarantined messages end after a time."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0035_quarantine_age.sql."""
    run_sql("0035_quarantine_age.sql")
