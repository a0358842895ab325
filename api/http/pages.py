# SPDX-License-Identifier: Apache-2.0
"""The pages for people: where each is, and its file below ``web/``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

PAGES: Final = {
    "/": "index.html",
    "/alarms": "staff/alarms.html",
    "/rules": "staff/rules.html",
    "/contacts": "staff/contacts.html",
    "/drills": "staff/drills.html",
    "/devices": "devices/index.html",
    "/polls": "staff/polls.html",
    "/quarantine": "staff/quarantine.html",
    "/frames": "staff/frames.html",
}
"""File by path."""


class _Assets(StaticFiles):
    """The pages' files. Those of a version (``vendor/<name>-<version>/``) never change; others are asked for anew."""

    def file_response(self, full_path: PathLike[str] | str, *args: Any, **options: Any) -> Response:
        """The file with its caching rule."""
        response = super().file_response(full_path, *args, **options)
        is_versioned = "/vendor/" in str(full_path)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_versioned else "no-cache"
        return response


def add_pages(app: FastAPI) -> None:
    """Serve them, and what they are made of below ``/static``."""
    root = Path(str(resources.files("web")))
    for path, name in PAGES.items():
        app.add_api_route(path, _page(root / name), include_in_schema=False)
    app.mount("/static", _Assets(directory=root), name="static")


def _page(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def page() -> FileResponse:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return page
