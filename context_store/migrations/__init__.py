# SPDX-License-Identifier: Apache-2.0
"""Forward-only Alembic migrations; the statements are plain SQL files in ``versions/``."""

from __future__ import annotations

from importlib import resources

from alembic import op


def run_sql(name: str) -> None:
    """Run the SQL file ``name`` of ``versions/`` as it stands (no parameters, several statements)."""
    text = resources.files(__package__).joinpath("versions", name).read_text(encoding="utf-8")
    driver_connection = op.get_bind().connection.driver_connection
    if driver_connection is None:
        raise RuntimeError("migrations need an open connection")
    # Straight to psycopg: SQLAlchemy would read % as a placeholder and refuse several statements.
    driver_connection.execute(text)
