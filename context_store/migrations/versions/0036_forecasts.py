# SPDX-License-Identifier: Apache-2.0
"""Runs of forecast models."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0036_forecasts.sql."""
    run_sql("0036_forecasts.sql")
