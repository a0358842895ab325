# SPDX-License-Identifier: Apache-2.0
"""A hub whose role owns two schemas and nothing else: it makes no schema, at no start and no upgrade."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from psycopg import sql

from api.embedded.postgres import ROLE, SUPERUSER
from context_store.migrate import migrate, newest_revision
from support.cluster import Cluster
from support.hub import client_for, hub_for

NGSI = "/ngsi-ld/v1"


@pytest.fixture
def restricted_url(cluster: Cluster, empty_database_url: str) -> str:
    """A database of somebody else's, with the schemas of the hub's role."""
    name = urlsplit(empty_database_url).path.lstrip("/")
    with cluster.admin(name) as connection:
        database, role = sql.Identifier(name), sql.Identifier(ROLE)
        connection.execute(sql.SQL("alter database {} owner to {}").format(database, sql.Identifier(SUPERUSER)))
        for schema in ("minamo", "minamo_seen"):
            connection.execute(sql.SQL("create schema {} authorization {}").format(sql.Identifier(schema), role))
        row = connection.execute("select has_database_privilege(%s, %s, 'create')", (ROLE, name)).fetchone()
        assert row == (False,)
    return empty_database_url


def made_of(cluster: Cluster, url: str) -> str:
    with cluster.admin(urlsplit(url).path.lstrip("/")) as connection:
        row = connection.execute("select obj_description('minamo_seen'::regnamespace, 'pg_namespace')").fetchone()
    return str(row and row[0])


async def test_role_without_the_right_to_create_migrates_and_serves(cluster: Cluster, restricted_url: str) -> None:
    assert migrate(restricted_url) == newest_revision()
    settings = {"public_access": True, "api_tokens_sha256": ("0" * 64,)}
    async with hub_for(restricted_url, **settings) as hub, client_for(hub) as client:
        answer = await client.get(f"{NGSI}/entities?type=WaterObserved")
    assert (answer.status_code, answer.json()) == (200, [])


async def test_views_are_made_anew_within_their_schema(cluster: Cluster, restricted_url: str) -> None:
    migrate(restricted_url)
    first = made_of(cluster, restricted_url)
    with cluster.admin(urlsplit(restricted_url).path.lstrip("/")) as connection:  # as an upgrade finds them
        connection.execute("comment on schema minamo_seen is 'of another version'")
        connection.execute("create view minamo_seen.forgotten as select 1 as one")
    migrate(restricted_url)
    assert made_of(cluster, restricted_url) == first
    with cluster.admin(urlsplit(restricted_url).path.lstrip("/")) as connection:
        assert connection.execute("select to_regclass('minamo_seen.forgotten')").fetchone() == (None,)
