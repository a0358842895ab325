# SPDX-License-Identifier: Apache-2.0
"""What an operation of the NGSI-LD API takes and answers: one description for its route and for the OpenAPI document.

An endpoint is described where it is written. Its docstring gives name and clause, ``@operation(...)`` the rest::

    @operation(("type",), body="EntityFragment", errors=(ResourceNotFound,))
    async def replace(self, request: Request) -> Response:
        \"""Replace Entity: implements 6.5.3.3.\"""

The route refuses URL parameters and options that are not described, so that neither can be without the other.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from api.http.negotiation import REPRESENTATIONS
from broker.errors import (
    AlreadyExists,
    Conflict,
    NgsiLdError,
    NonexistentTenant,
    OperationNotSupported,
    ResourceNotFound,
)
from schemas.terms import JSON

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_Method = TypeVar("_Method", bound=Callable[..., Awaitable[Response]])

LOCAL: Final = frozenset({"local"})
"""Known to every operation (clause 6.3.18): no context source has a part in it."""

_DOCSTRING: Final = re.compile(r"(?P<name>[^:]+): implements (?P<clause>[\d.]+\d)\.\s*(?P<description>.*)", re.DOTALL)
_ATTRIBUTE: Final = "__operation__"
_IN_SCOPE: Final = "ngsi_ld_operation"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error. ``schema`` names its body in the OpenAPI document; ``headers`` are those it may have.

    Of several ``media_types`` the client chooses one by Accept.
    """

    status: int
    schema: str | None = None
    media_types: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


DONE: Final = Answer(204)
CREATED: Final = Answer(201, headers=("Location",))


PARTLY: Final = Answer(207, "BatchOperationResult", (JSON,))
"""Of a change that context sources have a part in, some parts were made and some not."""


def found(schema: str, media_types: tuple[str, ...] = REPRESENTATIONS, *headers: str, status: int = 200) -> Answer:
    """What :func:`api.http.negotiation.answer` writes."""
    return Answer(status, schema, media_types, ("Link", "Preference-Applied", *headers))


CREATION: Final = (AlreadyExists,)
LOOKUP: Final = (ResourceNotFound, NonexistentTenant)
READING: Final = (NonexistentTenant,)
"""Errors of an operation that creates something, that needs something to be there, and that reads what there is."""


DISTRIBUTED: Final = (Conflict, OperationNotSupported)
"""Errors of a change that context sources have a part in."""


@dataclass(frozen=True, slots=True)
class Operation:
    """``options`` and ``formats`` are the keywords of these two parameters, where the operation has them.

    ``body`` names the schema of the request's body. ``uses_context``: names in the request or in the answer are those
    of an ``@context``. ``errors`` are those beside what every operation may raise.
    """

    name: str
    clause: str
    description: str
    parameters: frozenset[str]
    options: tuple[str, ...]
    formats: tuple[str, ...]
    body: str | None
    uses_context: bool
    answers: tuple[Answer, ...]
    errors: tuple[type[NgsiLdError], ...]


def operation(
    parameters: Collection[str] = (),
    *,
    options: Collection[str] = (),
    formats: Collection[str] = (),
    body: str | None = None,
    uses_context: bool = True,
    answers: tuple[Answer, ...] = (DONE,),
    errors: tuple[type[NgsiLdError], ...] = READING,
) -> Callable[[_Method], _Method]:
    """Describe an endpoint. Raises ``ValueError`` for a description that contradicts itself."""
    for name, keywords in (("options", options), ("format", formats)):
        if (name in parameters) != bool(keywords):
            raise ValueError(f"the parameter {name!r} and its keywords have to be given together")

    def describe(endpoint: _Method) -> _Method:
        told = _DOCSTRING.fullmatch(inspect.getdoc(endpoint) or "")
        if told is None:
            raise ValueError(
                f"the docstring of {endpoint!r} does not begin with 'Name of Operation: implements 1.2.3.'"
            )
        vars(endpoint)[_ATTRIBUTE] = Operation(
            told["name"],
            told["clause"],
            " ".join(told["description"].split()),
            frozenset(parameters) | LOCAL,
            tuple(sorted(options)),
            tuple(sorted(formats)),
            body,
            uses_context,
            answers,
            errors,
        )
        return endpoint

    return describe


def operation_of(endpoint: Endpoint) -> Operation:
    """The description of ``endpoint``; raises ``TypeError`` when it has none."""
    found: Any = getattr(endpoint, _ATTRIBUTE, None)
    if not isinstance(found, Operation):
        raise TypeError(f"{endpoint!r} is not described: it needs @operation(...), see {__name__}")
    return found


def remember(scope: Scope, described: Operation) -> None:
    """Note in the scope of a request which operation it is for."""
    scope[_IN_SCOPE] = described


def requested(request: Request) -> Operation:
    """The operation that a request is for."""
    found: Operation = request.scope[_IN_SCOPE]
    return found
