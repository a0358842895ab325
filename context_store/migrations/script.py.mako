# SPDX-License-Identifier: Apache-2.0
"""${message}."""

from __future__ import annotations

from context_store.migrations import run_sql

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the statements of this revision."""
    run_sql("${up_revision}.sql")
