# SPDX-License-Identifier: Apache-2.0
"""The device registry: models, profiles, maintenance, service at a station, credentials, changes."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0023_device_registry.sql."""
    run_sql("0023_device_registry.sql")
