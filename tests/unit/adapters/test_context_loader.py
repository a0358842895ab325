# SPDX-License-Identifier: Apache-2.0
"""Fetching contexts: limits, redirects, ETags, and the guard against requests into the hub's own network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from adapters.web.context_loader import MAX_FRESH, HttpContextLoader, freshness
from adapters.web.guard import Reach
from broker.errors import BadRequestData, LdContextNotAvailable


class _Handler(BaseHTTPRequestHandler):
    accepts: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.accepts.append(self.headers.get("Accept"))
        answer = getattr(self, "answer_" + self.path.strip("/").partition("/")[0], self.answer_missing)
        answer()

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self) -> None:
        if self.headers.get("If-None-Match") == '"1"':
            self.send(304, ETag='"1"')
        else:
            self.send(200, b'{"@context": {"a": "urn:a"}}', ETag='"1"')

    def answer_moved(self) -> None:
        self.send(302, Location="/good")

    def answer_loop(self) -> None:
        self.send(302, Location="/loop")

    def answer_file(self) -> None:
        self.send(302, Location="file:///etc/passwd")

    def answer_large(self) -> None:
        self.send(200, b'{"@context": "' + b"x" * 5000 + b'"}')

    def answer_text(self) -> None:
        self.send(200, b"<html>")

    def answer_list(self) -> None:
        self.send(200, b"[]")

    def answer_missing(self) -> None:
        self.send(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of a web server on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def loader(*, allow_loopback: bool = True, allow_private: bool = False, timeout_s: float = 2.0) -> HttpContextLoader:
    return HttpContextLoader(
        timeout_s=timeout_s,
        max_bytes=4096,
        reach=Reach(allow_private=allow_private, allow_loopback=allow_loopback),
    )


async def test_a_document_is_loaded_with_json_ld_preferred(server: str) -> None:
    contexts = loader()
    _Handler.accepts.clear()
    assert await contexts.load(f"{server}/good") == {"@context": {"a": "urn:a"}}
    assert _Handler.accepts[0] is not None
    assert _Handler.accepts[0].startswith("application/ld+json")
    await contexts.aclose()


async def test_a_redirect_is_followed(server: str) -> None:
    contexts = loader()
    assert "@context" in await contexts.load(f"{server}/moved")
    await contexts.aclose()


async def test_an_unchanged_document_is_not_sent_again(server: str) -> None:
    contexts = loader()
    first = await contexts.fetch(f"{server}/good")
    second = await contexts.fetch(f"{server}/good", first.etag)
    assert (first.etag, second.document) == ('"1"', None)
    await contexts.aclose()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("loop", "TooManyRedirects"),
        ("file", "not an absolute http or https URL"),
        ("large", "larger than 4096 bytes"),
        ("missing", "HTTP 404"),
    ],
)
async def test_what_cannot_be_had_is_told(server: str, path: str, reason: str) -> None:
    contexts = loader()
    with pytest.raises(LdContextNotAvailable, match=reason):
        await contexts.load(f"{server}/{path}")
    await contexts.aclose()


@pytest.mark.parametrize("path", ["text", "list"])
async def test_what_is_no_context_is_the_fault_of_who_names_it(server: str, path: str) -> None:
    contexts = loader()
    with pytest.raises(BadRequestData, match=r"not JSON|not a JSON object"):
        await contexts.load(f"{server}/{path}")
    await contexts.aclose()


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        contexts = loader(timeout_s=0.2)
        with pytest.raises(LdContextNotAvailable, match=r"no answer within 0\.2 s"):
            await contexts.load(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        await contexts.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"])  # noqa: S104
async def test_loopback_needs_a_permission_of_its_own(host: str) -> None:
    contexts = loader(allow_loopback=False, allow_private=True)
    with pytest.raises(LdContextNotAvailable, match=r"own machine|cannot be resolved"):
        await contexts.load(f"http://{host}:9/context.jsonld")
    await contexts.aclose()


@pytest.mark.parametrize("host", ["10.1.2.3", "192.168.0.1", "169.254.169.254", "[fe80::1]", "[fd00::1]"])
async def test_private_addresses_are_refused(host: str) -> None:
    contexts = loader()
    with pytest.raises(LdContextNotAvailable, match="private network"):
        await contexts.load(f"http://{host}/context.jsonld")
    await contexts.aclose()


async def test_credentials_in_a_url_are_refused() -> None:
    contexts = loader()
    with pytest.raises(LdContextNotAvailable, match="credentials"):
        await contexts.load("http://user:secret@example.org/context.jsonld")
    await contexts.aclose()


class TestFreshness:
    """6.3.16: "Implementations shall comply with the Expires header field ... or a max-age or s-maxage"."""

    NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"cache-control": "max-age=300"}, 300),
            ({"cache-control": "public, max-age=300, s-maxage=60"}, 60),
            ({"cache-control": 'Max-Age="300"'}, 300),
            ({"cache-control": "max-age=300", "expires": "Sat, 21 Nov 2026 12:00:05 GMT"}, 300),
            ({"cache-control": "no-cache"}, 0),
            ({"expires": "Sat, 21 Nov 2026 12:00:05 GMT"}, 5),
            ({"expires": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
            ({"expires": "0"}, 0),
            ({"cache-control": "max-age=99999999999"}, MAX_FRESH.total_seconds()),
        ],
    )
    def test_what_the_server_says_counts(self, headers: dict[str, str], seconds: float) -> None:
        assert freshness(headers, self.NOW) == timedelta(seconds=seconds)

    @pytest.mark.parametrize("headers", [{}, {"cache-control": "public"}, {"cache-control": "max-age=soon"}])
    def test_a_server_may_say_nothing(self, headers: dict[str, str]) -> None:
        assert freshness(headers, self.NOW) is None
