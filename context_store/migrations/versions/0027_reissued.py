# SPDX-License-Identifier: Apache-2.0
"""Alerts that go on for long are told again before their messages expire."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0027_reissued.sql."""
    run_sql("0027_reissued.sql")
