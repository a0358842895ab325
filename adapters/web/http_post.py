# SPDX-License-Identifier: Apache-2.0
"""Posting notifications by HTTP over kept connections: one request, its answer in part, no redirects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Final

import aiohttp
from yarl import URL

from adapters.web.guard import Reach
from adapters.web.guarded_session import GuardedSession

_MAX_ANSWER_BYTES: Final = 65_536  # that are read, so that the connection can be used again; more ends it
# Headers of the connection, not of the notification: whoever names them does not decide about them.
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "expect", "te", "trailer", "upgrade"}
)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUES: Final = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")


class BrokenAnswer(Exception):
    """The receiver ended the connection before it answered, or what it says is not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is what was read of it, ``retry_after`` the header of this name."""

    status: int
    body: bytes
    retry_after: str = ""


@dataclass(slots=True)
class _Attempt:
    """``reused``: by a connection that was there before, which the receiver may have ended just now."""

    reused: bool = False


_parsed = lru_cache(maxsize=10_000)(URL)


def sent_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of ``headers`` that go with a notification; raises ValueError for what is no header."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or _FORBIDDEN_IN_VALUES.search(value):
            raise ValueError(f"{name!r} with the value {value!r} is no HTTP header")
    return {name: value for name, value in headers.items() if name.lower() not in _OURS}


class Poster:
    """Posts to any origin, at most ``connections`` at once to one; the others wait."""

    def __init__(self, *, reach: Reach, connections: int) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._session = GuardedSession(
            reach=reach,
            connections=connections,
            traces=[trace],
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request and its answer.

        A kept connection may have been ended by the receiver just now: then another is tried. Raises
        :class:`BrokenAnswer`, OSError (TLS included), ValueError and :class:`adapters.web.guard.ForbiddenDestination`.
        """
        sent = sent_headers(headers)
        while True:
            attempt = _Attempt()
            try:
                return await self._exchange(url, sent, body, attempt)
            except (aiohttp.ServerDisconnectedError, ConnectionError) as exc:
                if not attempt.reused:
                    raise BrokenAnswer(f"the receiver ended the connection without an answer: {exc}") from exc
            except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as exc:
                raise BrokenAnswer(f"no HTTP: {exc}") from exc

    async def _exchange(self, url: str, headers: dict[str, str], body: bytes, attempt: _Attempt) -> Answer:
        async with self._session.opened.post(
            _parsed(url), data=body, headers=headers, allow_redirects=False, trace_request_ctx=attempt
        ) as response:
            found = await _read_some(response)
            return Answer(response.status, found, response.headers.get("Retry-After", "").strip())

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.aclose()


async def _note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _event: aiohttp.TraceConnectionReuseconnParams
) -> None:
    context.trace_request_ctx.reused = True


async def _read_some(response: aiohttp.ClientResponse) -> bytes:
    """The answer, as far as the hub cares to listen; one that goes on ends the connection."""
    parts: list[bytes] = []
    size = 0
    while part := await response.content.read(_MAX_ANSWER_BYTES):
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER_BYTES:
            response.close()
            break
    return b"".join(parts)[:_MAX_ANSWER_BYTES]
