# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the hub: serves web/ and answers the page's own JSON addresses with what a test puts into it.

It keeps the contract of the page with the hub (docs/decisions/0005-web-page.md): the same paths, headers and shapes, so
what passes here fails in the real hub only if the hub breaks the contract.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

WEB = Path(__file__).resolve().parents[2] / "web"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".svg": "image/svg+xml",
}

Json = dict[str, Any]
Series = Callable[[str, str, float, float], list[list[float]]]
Overview = Callable[[str, str, float, float], list[tuple[float, float | None]]]


def no_series(_entity_id: str, _attribute: str, _start: float, _end: float) -> list[list[float]]:
    """A hub without history."""
    return []


def no_overview(_entity_id: str, _attribute: str, _start: float, _end: float) -> list[tuple[float, float | None]]:
    """The same for long ranges."""
    return []


@dataclass
class HubState:
    """What the hub answers; a test changes it while the page looks."""

    stations: Callable[[], Json]
    alerts: list[Json] = field(default_factory=list)
    incidents: list[Json] = field(default_factory=list)
    forecasts: list[Json] | None = field(default_factory=list)
    posted: list[tuple[str, Json]] = field(default_factory=list)
    refusal: str | None = None
    series: Series = no_series
    overview: Overview = no_overview
    failing: bool = False
    events: list[tuple[str, Json]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    stopping: bool = False
    paths: list[str] = field(default_factory=list)

    def send(self, event: str, alert: Json) -> None:
        """Puts an alert on the event stream."""
        with self.changed:
            self.events.append((event, alert))
            self.changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubState

    def do_GET(self) -> None:
        """Answers one request; everything but the buttons is GET."""
        url = urlsplit(self.path)
        self.hub.paths.append(url.path)
        if url.path.startswith("/api/") and self.hub.failing:
            self._send(503, "application/problem+json", b"{}")
        elif url.path == "/api/v1/alerts/stream":
            self._stream()
        elif url.path.startswith("/api/"):
            self._answer(url.path, parse_qs(url.query))
        else:
            self._file("index.html" if url.path == "/" else url.path.removeprefix("/static/"))

    def do_POST(self) -> None:
        """Remembers what a button sends; refuses it when the test says why."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.hub.posted.append((unquote(urlsplit(self.path).path), body))
        if self.hub.refusal is not None:
            self._send(409, "application/problem+json", json.dumps({"detail": self.hub.refusal}).encode())
        else:
            self._json({})

    def _answer(self, path: str, query: dict[str, list[str]]) -> None:
        if path == "/api/v1/stations":
            self._json(self.hub.stations())
        elif path == "/api/v1/alerts":
            self._json({"alerts": self.hub.alerts})
        elif path == "/api/v1/forecasts" and self.hub.forecasts is not None:
            place = (query["entityId"][0], query["attribute"][0])
            self._json(
                {"forecasts": [one for one in self.hub.forecasts if (one["entityId"], one["attribute"]) == place]}
            )
        elif path == "/api/v1/incidents":
            self._json({"incidents": self.hub.incidents})
        elif path.startswith("/api/v1/entities/"):
            start, end = (_seconds(query[name][0]) for name in ("from", "to"))
            points = self.hub.overview(unquote(path.split("/")[4]), path.split("/")[6], start, end)
            self._json({"data": [[point[place] for point in points] for place in (0, 1)]})
        elif path.endswith("/series"):
            entity_id = unquote(path.split("/")[4])
            start, end = (_seconds(query[name][0]) for name in ("from", "to"))
            attribute = query["attribute"][0]
            points = self.hub.series(entity_id, attribute, start, end)
            self._json({"entityId": entity_id, "attribute": attribute, "unitCode": "MTR", "points": points})
        else:
            self._send(404, "application/problem+json", b"{}")

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        sent = int(self.headers.get("Last-Event-ID") or 0)
        try:
            self.wfile.write(b": open\n\n")
            while not self.hub.stopping and not self.hub.failing:
                sent = self._send_events(sent)
        except OSError:
            return  # the page went away

    def _send_events(self, sent: int) -> int:
        with self.hub.changed:
            self.hub.changed.wait_for(lambda: len(self.hub.events) > sent or self.hub.stopping, timeout=0.5)
            news = self.hub.events[sent:]
        for number, (event, alert) in enumerate(news, start=sent + 1):
            self.wfile.write(f"event: {event}\nid: {number}\ndata: {json.dumps(alert)}\n\n".encode())
        return sent + len(news)

    def _file(self, name: str) -> None:
        path = (WEB / name).resolve()
        if WEB not in path.parents or not path.is_file():
            self._send(404, "text/plain", b"not found")
        else:
            self._send(200, MEDIA_TYPES.get(path.suffix, "application/octet-stream"), path.read_bytes())

    def _json(self, answer: Json) -> None:
        self._send(200, "application/json", json.dumps(answer).encode())

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test output quiet."""


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class PageHub:
    """Runs the stand-in on a free port of the loopback interface."""

    def __init__(self, state: HubState, port: int = 0) -> None:
        self.state = state
        handler = type("Handler", (_Handler,), {"hub": state})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.state.changed:
            self.state.stopping = True
            self.state.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
