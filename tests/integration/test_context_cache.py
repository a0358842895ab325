# SPDX-License-Identifier: Apache-2.0
"""The durable cache of contexts: what was fetched once survives restarts and outages, failures do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from broker.errors import BadRequestData, LdContextNotAvailable
from context_store.contexts.cache import SHARED_TENANT_ID, CachedContextLoader
from context_store.database import Database

URL = "https://contexts.test/river.jsonld"
RIVER = {"@context": {"level": "https://x.test/level"}}

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@dataclass
class Answer:
    document: dict[str, Any] | None
    etag: str | None = None
    fresh_for: timedelta | None = None


@dataclass
class Web:
    """A web with one document, which may be unreachable."""

    answer: Answer | Exception
    asked: list[str | None] = field(default_factory=list)

    async def fetch(self, _url: str, etag: str | None = None) -> Answer:
        self.asked.append(etag)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Answer(None, etag) if etag and etag == self.answer.etag else self.answer


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()


def loader(database: Database, web: Web, *, refresh_after: timedelta = timedelta(days=1)) -> CachedContextLoader:
    """A loader without memory of its own, as after a restart."""
    return CachedContextLoader(database, web, refresh_after=refresh_after)


ALWAYS = timedelta(0)
DOWN = LdContextNotAvailable("no answer")


async def test_a_document_is_fetched_once(database: Database) -> None:
    web = Web(Answer(RIVER))
    assert await loader(database, web).load(URL) == RIVER
    assert await loader(database, web).load(URL) == RIVER
    assert len(web.asked) == 1


async def test_an_old_copy_is_asked_for_with_its_etag(database: Database) -> None:
    web = Web(Answer(RIVER, '"1"'))
    await loader(database, web).load(URL)
    assert await loader(database, web, refresh_after=ALWAYS).load(URL) == RIVER
    assert web.asked == [None, '"1"']


async def test_a_confirmed_copy_is_fresh_again(database: Database) -> None:
    web = Web(Answer(RIVER, '"1"'))
    await loader(database, web).load(URL)
    async with database.transaction(SHARED_TENANT_ID) as connection:
        await connection.execute("update jsonld_context set fetched_at = fetched_at - interval '2 days'")
    await loader(database, web).load(URL)
    await loader(database, web).load(URL)
    assert web.asked == [None, '"1"']


async def test_a_changed_document_replaces_the_copy_and_is_told(database: Database) -> None:
    web = Web(Answer(RIVER, '"1"'))
    contexts = loader(database, web, refresh_after=ALWAYS)
    await contexts.load(URL)
    web.answer = Answer({"@context": {"level": "https://x.test/stage"}}, '"2"')
    assert await contexts.refresh_stale() == [URL]
    assert await contexts.refresh_stale() == []


@pytest.mark.parametrize("failure", [DOWN, BadRequestData("not JSON"), Answer({"error": "maintenance"})])
async def test_the_stale_copy_is_served_when_no_new_one_can_be_had(database: Database, failure: Any) -> None:
    web = Web(Answer(RIVER))
    await loader(database, web).load(URL)
    web.answer = failure
    assert await loader(database, web, refresh_after=ALWAYS).load(URL) == RIVER


async def test_a_failure_is_not_kept(database: Database) -> None:
    web = Web(DOWN)
    with pytest.raises(LdContextNotAvailable):
        await loader(database, web).load(URL)
    web.answer = Answer(RIVER)
    assert await loader(database, web).load(URL) == RIVER


async def test_a_document_that_is_no_context_is_refused_and_not_kept(database: Database) -> None:
    web = Web(Answer({"error": "not found"}))
    with pytest.raises(BadRequestData):
        await loader(database, web).load(URL)
    web.answer = Answer(RIVER)
    assert await loader(database, web).load(URL) == RIVER
