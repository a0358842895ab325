# SPDX-License-Identifier: Apache-2.0
"""JSON answers of the hub's own API."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import JSONResponse


class Json(JSONResponse):
    """A document written by orjson: UTF-8, times with their offset, no caching by proxies unless told otherwise."""

    def render(self, content: Any) -> bytes:
        """The bytes of ``content``."""
        return orjson.dumps(content)
