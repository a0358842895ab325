# SPDX-License-Identifier: Apache-2.0
"""Browsers that are told by push messages."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0028_web_push.sql."""
    run_sql("0028_web_push.sql")
