# SPDX-License-Identifier: Apache-2.0
"""Drills: floods of the record through the live chain, in tenants of their own."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0026_drills.sql."""
    run_sql("0026_drills.sql")
