# SPDX-License-Identifier: Apache-2.0
"""How it goes with a subscription is asked often, and must not cost what its history is."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0014_delivery_status.sql."""
    run_sql("0014_delivery_status.sql")
