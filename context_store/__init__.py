# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL/PostGIS/TimescaleDB: tables, migrations, queries, history and the outbox."""
