# SPDX-License-Identifier: Apache-2.0
"""Asking context sources by HTTP, guarded: who registers a source names the address, so it must not open the hub's own
network. Size and time are limited as a whole, redirects are not followed."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from yarl import URL

from adapters.web.guard import ForbiddenDestination, Reach, check_url
from adapters.web.guarded_session import GuardedSession, HttpAnswer, joined_headers, read_at_most
from broker.registrations.requests import SourceRequest

_HEADERS: Final = {"Accept-Encoding": "identity"}


class SourceUnreachable(Exception):
    """No answer came, in time or at all."""


class SourceClient:
    """Sends requests to sources; ``timeout_s`` bounds each as a whole, ``max_bytes`` the body of its answer.

    At most ``concurrency`` are under way; others wait, and their time runs.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        max_bytes: int,
        concurrency: int,
        reach: Reach,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._places = asyncio.Semaphore(concurrency)
        self._session = GuardedSession(
            reach=reach,
            connections=concurrency,
            decompress=True,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.aclose()

    async def ask(self, request: SourceRequest, timeout_s: float | None = None) -> HttpAnswer:
        """The answer, whatever its status; ``timeout_s`` may shorten the wait.

        Raises :class:`SourceUnreachable` and :class:`adapters.web.guarded_session.AnswerTooLarge`.
        """
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            async with asyncio.timeout(limit), self._places:
                return await self._send(request)
        except TimeoutError as exc:
            raise SourceUnreachable(f"no answer within {limit:g} s") from exc
        except ForbiddenDestination as exc:
            raise SourceUnreachable(str(exc)) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise SourceUnreachable(f"{type(exc).__name__}: {exc}") from exc

    async def _send(self, request: SourceRequest) -> HttpAnswer:
        check_url(request.url)
        async with self._session.opened.request(
            request.method,
            URL(request.url),
            headers={**_HEADERS, **request.headers},
            data=request.body,
            allow_redirects=False,
        ) as response:
            body = await read_at_most(response, self._max_bytes)
            return HttpAnswer(response.status, joined_headers(response), body)
