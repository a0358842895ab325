# SPDX-License-Identifier: Apache-2.0
"""Contacts, groups, plans, and what each person was told."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0025_contacts.sql."""
    run_sql("0025_contacts.sql")
