# SPDX-License-Identifier: Apache-2.0
"""Audiences: who may see which attributes and entities."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0030_audiences.sql."""
    run_sql("0030_audiences.sql")
