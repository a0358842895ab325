# SPDX-License-Identifier: Apache-2.0
"""Who sends a request: the token or the session it came with, and who the person says to be."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import unquote

from fastapi import Depends, Header
from starlette.requests import Request
from starlette.types import Scope

from broker.errors import BadRequestData
from context_store.alerts.audit import Actor

_IN_SCOPE: Final = "minamo.credential"
_BY_SESSION: Final = "minamo.by_session"
_LONGEST_NAME: Final = 100
LOCAL: Final = "local"


def remember_credential(scope: Scope, token_sha256: str, *, by_session: bool = False) -> None:
    """Note with which token a request came (its SHA-256; the audit keeps the first digits), or a session of it."""
    scope[_IN_SCOPE] = f"token:{token_sha256[:12]}"
    scope[_BY_SESSION] = by_session


def may_see_secrets(request: Request) -> bool:
    """Whether who asks gave the secrets of subscriptions and registrations, or could have.

    A browser's session reads only; what it sees may be left open on a desk.
    """
    return not request.scope.get(_BY_SESSION, False)


async def _actor(
    request: Request,
    person: Annotated[
        str | None,
        Header(alias="Minamo-Person", description="Your name for the audit, percent-encoded UTF-8 / 操作者名"),
    ] = None,
) -> Actor:
    return Actor(request.scope.get(_IN_SCOPE, LOCAL), _name(unquote(person) if person else None, "Minamo-Person"))


RequestActor = Annotated[Actor, Depends(_actor)]


def with_name(actor: Actor, body: dict[str, Any]) -> Actor:
    """``actor`` with the name that the member ``by`` gives. Raises :class:`BadRequestData`."""
    return Actor(actor.key, _name(body.get("by"), "by") or actor.name)


def _name(value: object, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not value.isprintable():
        raise BadRequestData(f"{where}: a name of at most {_LONGEST_NAME} characters is expected")
    return value.strip() or None
