# SPDX-License-Identifier: Apache-2.0
"""Entity maps."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0005_entity_maps.sql."""
    run_sql("0005_entity_maps.sql")
