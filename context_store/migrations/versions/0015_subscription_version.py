# SPDX-License-Identifier: Apache-2.0
"""Which subscriptions have changed since a worker looked last."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0015_subscription_version.sql."""
    run_sql("0015_subscription_version.sql")
