# SPDX-License-Identifier: Apache-2.0
"""Deliveries by lane and receiver, dead letters that tell their story, notifications that can be pulled."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0010_delivery_lanes.sql."""
    run_sql("0010_delivery_lanes.sql")
