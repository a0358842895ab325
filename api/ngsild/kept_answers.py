# SPDX-License-Identifier: Apache-2.0
"""Answers about the history of an entity, kept for those who ask the same again (``ETag``, RFC 9110).

Dashboards ask for the same week of hours every minute, and each screen of a situation room does. What was computed once
is true as long as the version of the entity's history is the same (:mod:`context_store.history.versions`); the database
is asked for that with every request, so that nobody is given what is true no longer, whichever process wrote.

Only what is read for staff is kept: others see it through views whose rules may change
(:mod:`context_store.audiences.callers`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from broker.contexts.jsonld import TermMap

MAX_AGE_S: Final = 300.0
"""How long an answer is kept at most: what a retention removes leaves no trace in the version."""
_SHARE: Final = 8  # one answer takes no more than one in so many of all bytes
_OVERHEAD: Final = 1000  # bytes of an entry beside its body

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer, what it is about, and what has to be the same for it to be true."""

    tenant_id: int
    entity_id: str
    version: str
    terms: TermMap
    status: int
    headers: dict[str, str]
    body: bytes
    at: float

    def response(self, request: Request) -> Response:
        """The answer to ``request``: 304 when the client has it (RFC 9110, section 13.1.2)."""
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if self.headers["ETag"] in known or "*" in known:
            return Response(status_code=304, headers={name: self.headers[name] for name in _VALIDATORS})
        return Response(self.body, self.status, self.headers)


_VALIDATORS: Final = ("ETag", "Cache-Control")


class KeptAnswers:
    """The answers that were given last, in at most ``max_bytes`` (0: none). ``clock`` gives seconds."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._answers: OrderedDict[Key, KeptAnswer] = OrderedDict()
        self._bytes = 0
        self._computed: dict[Key, asyncio.Event] = {}

    def __bool__(self) -> bool:
        return self._max_bytes > 0

    @contextmanager
    def computing(self, key: Key) -> Iterator[None]:
        """Somebody computes the answer to ``key`` within the block, and others wait for it: screens ask together."""
        done = self._computed[key] = asyncio.Event()
        try:
            yield
        finally:
            if self._computed.get(key) is done:
                del self._computed[key]
            done.set()

    async def find(self, key: Key, terms: TermMap) -> KeptAnswer | None:
        """What was answered to the same request, once it is computed; its version has still to be compared."""
        if key in self._computed:
            await self._computed[key].wait()
        kept = self._answers.get(key)
        if kept is None:
            return None
        if kept.terms is not terms or self._clock() - kept.at > MAX_AGE_S:
            self._remove(key)
            return None
        self._answers.move_to_end(key)
        return kept

    def keep(self, key: Key, about: tuple[int, str, str], terms: TermMap, response: Response) -> KeptAnswer | None:
        """Keep ``response``, which is ``about`` a tenant, an entity and a version of its history.

        None when it is too large for that.
        """
        body = bytes(response.body)
        if len(body) + _OVERHEAD > self._max_bytes // _SHARE:
            return None
        etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        headers |= {"ETag": etag, "Cache-Control": "private, no-cache"}
        kept = KeptAnswer(*about, terms, response.status_code, headers, body, self._clock())
        self._remove(key)
        self._answers[key] = kept
        self._bytes += len(body) + _OVERHEAD
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._answers)))
        return kept

    def _remove(self, key: Key) -> None:
        gone = self._answers.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.body) + _OVERHEAD


def key_of(request: Request) -> Key:
    """All of a request that its answer may depend on, beside what the database holds."""
    headers = request.headers
    given = [",".join(headers.getlist(name)) for name in _HEADERS]
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return (raw.decode("latin-1"), request.scope["query_string"].decode("latin-1"), *given)


_HEADERS: Final = ("ngsild-tenant", "accept", "prefer", "link")
