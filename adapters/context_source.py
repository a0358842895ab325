# SPDX-License-Identifier: Apache-2.0
"""Asking context sources by HTTP, guarded: who registers a source names the address, so it must not open the hub's own
network. Size and time are limited as a whole, redirects are not followed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from adapters.guard import ForbiddenDestination
from adapters.guarded_http import GuardedTransport
from adapters.webhook import check_url
from broker.registrations.requests import SourceRequest

_HEADERS: Final = {"User-Agent": "minamo", "Accept-Encoding": "identity"}


class SourceUnreachable(Exception):
    """No answer came, in time or at all."""


class AnswerTooLarge(Exception):
    """The answer is larger than the hub takes."""


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """One answer; header names are in lower case, those given several times joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
        allow_private: bool,
        allow_loopback: bool,
        ca_file: Path | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._places = asyncio.Semaphore(concurrency)
        self._transport = GuardedTransport(
            allow_private=allow_private, allow_loopback=allow_loopback, connections=concurrency, ca_file=ca_file
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def ask(self, request: SourceRequest, timeout_s: float | None = None) -> SourceAnswer:
        """The answer, whatever its status; ``timeout_s`` may shorten the wait.

        Raises :class:`SourceUnreachable` and :class:`AnswerTooLarge`.
        """
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            async with asyncio.timeout(limit), self._places:
                return await self._send(request, limit)
        except TimeoutError as exc:
            raise SourceUnreachable(f"no answer within {limit:g} s") from exc
        except ForbiddenDestination as exc:
            raise SourceUnreachable(str(exc)) from exc
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            raise SourceUnreachable(f"{type(exc).__name__}: {exc}") from exc

    async def _send(self, request: SourceRequest, limit: float) -> SourceAnswer:
        check_url(request.url)
        sent = httpx.Request(
            request.method,
            request.url,
            headers={**_HEADERS, **request.headers},
            content=request.body,
            extensions={"timeout": httpx.Timeout(limit).as_dict()},
        )
        response = await self._transport.handle_async_request(sent)
        try:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > self._max_bytes:
                    raise AnswerTooLarge(f"the answer is larger than {self._max_bytes} bytes")
            return SourceAnswer(response.status_code, dict(response.headers), bytes(body))
        finally:
            await response.aclose()
