# SPDX-License-Identifier: Apache-2.0
"""Transient attributes: when the first attribute instance of an entity expires."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0006_expiry.sql."""
    run_sql("0006_expiry.sql")
