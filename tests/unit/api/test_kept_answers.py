# SPDX-License-Identifier: Apache-2.0
"""Answers about history that are kept: for the same request alone, within their bytes and their time."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from api.ngsild.kept_answers import MAX_AGE_S, KeptAnswers, key_of
from broker.contexts.jsonld import core_terms

TERMS = core_terms()
ABOUT = (1, "urn:ngsi-ld:River:abe", "7 100 101")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def request(query: str = "lastN=1", **headers: str) -> Request:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/x", "query_string": query.encode(), "headers": given})


def answers(max_bytes: int = 1_000_000) -> tuple[KeptAnswers, Clock]:
    clock = Clock()
    return KeptAnswers(max_bytes, clock), clock


async def test_an_answer_is_found_again_with_an_etag() -> None:
    kept, _ = answers()
    kept.keep(key_of(request()), ABOUT, TERMS, Response(b"{}", headers={"Link": "<x>"}))
    found = await kept.find(key_of(request()), TERMS)
    assert found is not None
    response = found.response(request())
    assert (response.status_code, response.body, response.headers["link"]) == (200, b"{}", "<x>")
    assert response.headers["cache-control"] == "private, no-cache"


def test_who_has_the_answer_is_told_so() -> None:
    kept, _ = answers()
    entry = kept.keep(key_of(request()), ABOUT, TERMS, Response(b"{}"))
    assert entry is not None
    etag = entry.headers["ETag"]
    for given, status in ((etag, 304), (f'"other", W/{etag}', 304), ("*", 304), ('"other"', 200)):
        assert entry.response(request(if_none_match=given)).status_code == status


def test_what_an_answer_depends_on_tells_requests_apart() -> None:
    different = [
        request(),
        request("lastN=2"),
        request(accept="application/ld+json"),
        request(prefer="ngsi-ld=1.5"),
        request(ngsild_tenant="city"),
    ]
    assert len({key_of(one) for one in different}) == len(different)


async def test_answers_are_forgotten_with_their_terms_and_with_time() -> None:
    kept, clock = answers()
    key = key_of(request())
    kept.keep(key, ABOUT, TERMS, Response(b"{}"))
    clock.now = MAX_AGE_S + 1
    assert await kept.find(key, TERMS) is None
    kept.keep(key, ABOUT, TERMS, Response(b"{}"))
    assert await kept.find(key, object()) is None  # type: ignore[arg-type]


async def test_the_answers_that_were_not_asked_for_longest_make_room() -> None:
    kept, _ = answers(30_000)
    keys = [key_of(request(f"lastN={number}")) for number in range(12)]
    for key in keys:
        kept.keep(key, ABOUT, TERMS, Response(b"x" * 2000))
        await kept.find(keys[0], TERMS)
    assert [(await kept.find(key, TERMS)) is not None for key in keys] == [True, *[False] * 2, *[True] * 9]


def test_an_answer_that_is_too_large_is_not_kept() -> None:
    kept, _ = answers(30_000)
    assert kept.keep(key_of(request()), ABOUT, TERMS, Response(b"x" * 4000)) is None
    assert not KeptAnswers(0, Clock())


async def test_who_asks_the_same_meanwhile_waits_for_the_answer() -> None:
    kept, _ = answers()
    key = key_of(request())
    with kept.computing(key):
        waiting = asyncio.create_task(kept.find(key, TERMS))
        await asyncio.sleep(0)
        assert not waiting.done()
        kept.keep(key, ABOUT, TERMS, Response(b"{}"))
    assert (await waiting) is not None
