# SPDX-License-Identifier: Apache-2.0
"""Asking context sources by HTTP, guarded: who registers a source names the address, so it must not open the hub's own
network. Size and time are limited as a whole, redirects are not followed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from adapters.channels.webhook import check_url
from adapters.web.guard import AddressGuard, ForbiddenDestination
from adapters.web.guarded_session import guarded_session
from broker.registrations.requests import SourceRequest

_HEADERS: Final = {"Accept-Encoding": "identity"}


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
        self._concurrency = concurrency
        self._guard = AddressGuard(allow_private, allow_loopback)
        self._ca_file = ca_file

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        return guarded_session(self._guard, connections=self._concurrency, ca_file=self._ca_file, decompress=True)

    async def aclose(self) -> None:
        """Close all connections."""
        if "_session" in self.__dict__:
            await self._session.close()

    async def ask(self, request: SourceRequest, timeout_s: float | None = None) -> SourceAnswer:
        """The answer, whatever its status; ``timeout_s`` may shorten the wait.

        Raises :class:`SourceUnreachable` and :class:`AnswerTooLarge`.
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

    async def _send(self, request: SourceRequest) -> SourceAnswer:
        check_url(request.url)
        async with self._session.request(
            request.method,
            URL(request.url),
            headers={**_HEADERS, **request.headers},
            data=request.body,
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > self._max_bytes:
                    response.close()
                    raise AnswerTooLarge(f"the answer is larger than {self._max_bytes} bytes")
            return SourceAnswer(response.status, _joined(response.headers.items()), bytes(body))


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found
