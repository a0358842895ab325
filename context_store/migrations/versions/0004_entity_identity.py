# SPDX-License-Identifier: Apache-2.0
"""Identities of entities: history stays reachable when the entity is gone, or was never in the current state."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0004_entity_identity.sql."""
    run_sql("0004_entity_identity.sql")
