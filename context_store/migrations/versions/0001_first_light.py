# SPDX-License-Identifier: Apache-2.0
"""First light: the first tables."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of 0001_first_light.sql."""
    run_sql("0001_first_light.sql")
