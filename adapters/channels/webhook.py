# SPDX-License-Identifier: Apache-2.0
"""Sending deliveries by HTTP, guarded against requests into the hub's own network. Redirects are not followed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Final

import aiohttp

from adapters.web.guard import ForbiddenDestination, Reach, check_url
from adapters.web.http_post import BrokenAnswer, Poster

MAX_ANSWER_CHARACTERS: Final = 300  # of a receiver's answer that is kept as the reason of a failure


@dataclass(frozen=True, slots=True)
class SendResult:
    """Answer to one attempt: ``ok`` for any 2xx; ``gone`` for 410; ``error`` tells what went wrong, ``final`` that it
    will always go wrong.

    ``retry_after_s``: how long the receiver wants to be left alone (RFC 9110, 10.2.3).
    ``status`` is that of HTTP or, by MQTT, the reason code (0, or from 128 to 255); None when nobody answered.
    """

    ok: bool
    status: int | None = None
    error: str | None = None
    final: bool = False
    retry_after_s: float | None = None

    @property
    def gone(self) -> bool:
        """The receiver says that it will never take this again."""
        return self.status == 410


@lru_cache(maxsize=10_000)
def _check_once(url: str) -> None:
    """:func:`check_url` of what is the same for all notifications of a subscription."""
    check_url(url)


class HttpSender:
    """Posts deliveries; ``timeout_s`` bounds an attempt as a whole. At most ``connections`` go to one receiver."""

    def __init__(
        self,
        *,
        timeout_s: float,
        reach: Reach,
        connections: int = 64,
    ) -> None:
        self._timeout_s = timeout_s
        self._poster = Poster(reach=reach, connections=connections)

    async def __aenter__(self) -> HttpSender:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._poster.aclose()

    async def send(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float | None = None) -> SendResult:
        """One attempt; never raises for what the receiver or the network does. ``timeout_s`` may shorten the wait."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            _check_once(url)
            async with asyncio.timeout(timeout_s):
                answer = await self._poster.post(url, headers, body)
        except ForbiddenDestination as exc:
            return SendResult(False, None, str(exc))
        except TimeoutError:
            return SendResult(False, None, f"no answer within {timeout_s:g} s")
        except (BrokenAnswer, aiohttp.ClientError, OSError, ValueError) as exc:
            return SendResult(False, None, f"{type(exc).__name__}: {exc}"[:MAX_ANSWER_CHARACTERS])
        if 200 <= answer.status < 300:
            return SendResult(True, answer.status)
        text = answer.body.decode("utf-8", "replace").strip()
        wait = _seconds(answer.retry_after)
        return SendResult(
            False, answer.status, f"HTTP {answer.status}: {text}"[:MAX_ANSWER_CHARACTERS], retry_after_s=wait
        )


def _seconds(retry_after: str) -> float | None:
    """Of a ``Retry-After`` in seconds; one with a date is left to the usual pauses."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9 else None
