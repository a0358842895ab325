# SPDX-License-Identifier: Apache-2.0
"""``/healthz``, ``/readyz`` and ``/metrics``: is it alive, can it do its work, and if not, which part is down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.errors import MinamoError

Check = Callable[[], Awaitable[None]]

_CHECK_TIMEOUT_S: Final = 3.0


class PartDown(MinamoError):
    """A part of the hub does not do its work; the text says what is wrong with it."""


class Health:
    """The parts of this process and how to ask each of them. A check raises when its part is down."""

    def __init__(self, checks: Mapping[str, Check] | None = None) -> None:
        self._checks = dict(checks or {})

    def add(self, name: str, check: Check) -> None:
        """Ask ``check`` about the part ``name`` from now on."""
        self._checks[name] = check

    async def ask(self) -> dict[str, str]:
        """``{part: "up" or what is wrong}``."""
        answers = await asyncio.gather(*(_ask(check) for check in self._checks.values()))
        return dict(zip(self._checks, answers, strict=True))


async def _ask(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return f"down: no answer within {_CHECK_TIMEOUT_S:g} s"
    except Exception as exc:  # noqa: BLE001 - whatever is wrong with a part is what we are asked for
        return f"down: {exc}"
    return "up"


def health_routes(health: Health) -> list[Route]:
    """The three routes."""

    async def healthz(_: Request) -> Response:
        return _json({"status": "alive"})

    async def readyz(_: Request) -> Response:
        parts = await health.ask()
        ready = all(answer == "up" for answer in parts.values())
        return _json({"status": "ready" if ready else "not ready", "parts": parts}, 200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(
        orjson.dumps(document), status, media_type="application/json", headers={"Cache-Control": "no-store"}
    )
