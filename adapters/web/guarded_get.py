# SPDX-License-Identifier: Apache-2.0
"""Getting documents from where somebody else says, guarded: it must not open the hub's own network.

Size and time are limited as a whole. Redirects are few, each is checked like the first address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from adapters.web.guard import ForbiddenDestination, Reach, check_url
from adapters.web.guarded_session import AnswerTooLarge, GuardedSession, HttpAnswer, joined_headers, read_at_most

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEPT: Final = "%!$&'()*+,/:;=?@[]~"  # in a path or query: what has a meaning, and what is encoded already


class GetFailed(Exception):
    """No answer can be had, or it is too large; the text says why."""


class TooManyRedirects(GetFailed):
    """A server sends the hub on and on."""


class GuardedGetter:
    """Gets documents; ``timeout_s`` bounds each as a whole, ``max_bytes`` its decoded body.

    ``accept`` is what it asks for. ``may_leave_tls``: whether a redirect may lead from https to http.
    """

    def __init__(
        self,
        *,
        accept: str,
        timeout_s: float,
        max_bytes: int,
        connections: int,
        reach: Reach,
        may_leave_tls: bool = False,
    ) -> None:
        # No encoding: a small answer cannot become a huge one.
        self._headers = {"Accept": accept, "Accept-Encoding": "identity"}
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._may_leave_tls = may_leave_tls
        self._session = GuardedSession(
            reach=reach,
            connections=connections,
            decompress=True,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.aclose()

    async def get(
        self, url: str, conditions: Mapping[str, str], own_headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """The answer, whatever its status; its body is read when it is 200 (OK).

        ``conditions`` go with each request, ``own_headers`` (a key) only to the origin of ``url``. Raises
        :class:`GetFailed`.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, conditions, own_headers or {})
        except TimeoutError as exc:
            raise GetFailed(f"no answer within {self._timeout_s:g} s") from exc
        except (ForbiddenDestination, AnswerTooLarge) as exc:
            raise GetFailed(str(exc)) from exc
        except aiohttp.ClientConnectorDNSError as exc:
            raise GetFailed(f"{exc.host} cannot be resolved: {exc.os_error}") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise GetFailed(f"{type(exc).__name__}: {exc}".rstrip(": ")) from exc

    async def _follow(self, url: str, conditions: Mapping[str, str], own_headers: Mapping[str, str]) -> HttpAnswer:
        first = _origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            check_url(url)
            headers = CIMultiDict(self._headers)
            headers.update(own_headers if _origin(url) == first else {})
            headers.update(conditions)
            answer = await self._ask(url, headers)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            url = self._next(url, answer.headers["location"])
        raise TooManyRedirects(f"there are more than {MAX_REDIRECTS} redirects")

    def _next(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
        if not self._may_leave_tls and urlsplit(url).scheme == "https" and scheme != "https":
            raise GetFailed(f"the server redirects from https to {scheme}")
        return target

    async def _ask(self, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        async with self._session.opened.get(_as_given(url), headers=headers, allow_redirects=False) as response:
            body = b""
            if response.status == HTTPStatus.OK:
                body = await read_at_most(response, self._max_bytes, what="document")
            return HttpAnswer(response.status, joined_headers(response), body)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parsed = URL(url)
    return parsed.scheme, parsed.raw_host, parsed.port


def _as_given(url: str) -> URL:
    """``url`` with what is encoded in it left as it is, because a signature in it may be of the text; what must be
    encoded is."""
    parsed, given = URL(url), urlsplit(url)
    return URL.build(
        scheme=parsed.scheme,
        authority=parsed.host_port_subcomponent or "",
        path=quote(given.path, safe=_KEPT) or "/",
        query_string=quote(given.query, safe=_KEPT),
        encoded=True,
    )
