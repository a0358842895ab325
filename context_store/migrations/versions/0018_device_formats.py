# SPDX-License-Identifier: Apache-2.0
"""In which format a device sends."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0018_device_formats.sql."""
    run_sql("0018_device_formats.sql")
