# SPDX-License-Identifier: Apache-2.0
"""Who makes a request, as far as the hub knows: for records of what people decided."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request

from api.requests import hub_of
from api.sessions import digest

LOCAL: Final = "local"
"""Whoever reaches a hub that asks for no token: it listens on the local machine only."""
_SHOWN: Final = 12  # digits of the hash of a token: enough to tell tokens apart


def principal(request: Request) -> str:
    """``token:<beginning of its SHA-256>`` of the token that the request was let pass with, or :data:`LOCAL`."""
    if not hub_of(request).settings.api_tokens_sha256:
        return LOCAL
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return f"token:{digest(token)[:_SHOWN]}" if scheme.lower() == "bearer" and token else LOCAL


Who = Annotated[str, Depends(principal)]
"""Who makes the request."""
