# SPDX-License-Identifier: Apache-2.0
"""Errors as HTTP answers: the one table from error class to status (clause 6.3.2), the one body (clause 5.5.3).

Bodies are problem details of RFC 9457. Their media type is ``application/json`` and not ``application/problem+json``,
as clauses 5.5.3 and 6.3.3 demand. Routers raise; nobody else builds error JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from broker.errors import (
    AlreadyExists,
    BadRequestData,
    Conflict,
    InternalError,
    InvalidRequest,
    LdContextNotAvailable,
    NgsiLdError,
    NoMultiTenantSupport,
    NonexistentTenant,
    OperationNotSupported,
    ResourceNotFound,
    StoreUnavailable,
    TooComplexQuery,
    TooManyResults,
)
from schemas.terms import JSON

log = structlog.get_logger(__name__)

TENANT_HEADER: Final = "NGSILD-Tenant"  # clause 6.3.14
STATUS: Final[dict[type[NgsiLdError], int]] = {
    AlreadyExists: 409,
    BadRequestData: 400,
    Conflict: 409,
    InternalError: 500,
    InvalidRequest: 400,
    LdContextNotAvailable: 504,
    NgsiLdError: 500,
    NoMultiTenantSupport: 501,
    NonexistentTenant: 404,
    OperationNotSupported: 422,
    ResourceNotFound: 404,
    TooComplexQuery: 403,
    TooManyResults: 403,
}
"""Table 6.3.2-1 and ``Conflict``, which the operations of clause 5.6 raise without a row of its own there."""
RETRY_AFTER_S: Final = 2  # about what a database needs to come back from a restart


class UnacceptableRequest(Exception):
    """A request refused by HTTP itself (clause 6.3.4): a status without one of the error types of NGSI-LD.

    ``body`` is None for statuses that come without a payload.
    """

    def __init__(
        self, status: int, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        super().__init__(f"HTTP {status}")


def status_of(error: NgsiLdError) -> int:
    """The HTTP status of ``error``, its own or that of the nearest class above it."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: NgsiLdError) -> dict[str, Any]:
    """The members of an error as JSON: also used within multi-status answers."""
    body = {"type": error.type, "title": error.title, "status": status_of(error)}
    return {**body, "detail": error.detail} if error.detail else {**body, "detail": error.title}


def install_problem_details(app: Starlette) -> None:
    """Answer every error of ``app`` with problem details."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def error_response(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with ``error``."""
    handler = next(_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS)
    return await handler(request, error)


def _respond(request: Request, status: int, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Response:
    tenant = request.headers.get(TENANT_HEADER)
    echoed = {TENANT_HEADER: tenant} if tenant else {}
    if body is None:
        return Response(status_code=status, headers={**echoed, **headers})
    return Response(orjson.dumps(body), status, {**echoed, **headers}, JSON)


async def _ngsi_ld_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, NgsiLdError):
        raise TypeError(f"{error!r} is no error of NGSI-LD") from error
    body = problem(error)
    if body["status"] >= 500 and not isinstance(error, LdContextNotAvailable):
        log.error("request_failed", method=request.method, path=request.url.path, error=body["detail"])
    return _respond(request, body["status"], body, {})


async def _unacceptable(request: Request, error: Exception) -> Response:
    if not isinstance(error, UnacceptableRequest):
        raise TypeError(f"{error!r} is no refusal") from error
    return _respond(request, error.status, error.body, error.headers)


async def _store_unavailable(request: Request, error: Exception) -> Response:
    """What the client may try again; the reason is for the log, since it tells about hosts and roles."""
    log.warning("store_unavailable", method=request.method, path=request.url.path, error=str(error))
    body = {**problem(InternalError("The database cannot be reached at the moment; try again soon")), "status": 503}
    return _respond(request, 503, body, {"Retry-After": str(RETRY_AFTER_S)})


async def _validation_error(request: Request, error: Exception) -> Response:
    """Parameters and bodies that FastAPI checks (the hub's own API, not NGSI-LD)."""
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    body = problem(BadRequestData(detail or "The request is not valid"))
    return _respond(request, body["status"], body, {})


async def _http_exception(request: Request, error: Exception) -> Response:
    """Errors that the framework raises: no such route, method not allowed ..."""
    if not isinstance(error, HTTPException):
        raise TypeError(f"{error!r} is no HTTP error") from error
    if error.status_code == 404:
        missing = problem(ResourceNotFound(f"{request.url.path} does not exist"))
        return _respond(request, 404, missing, error.headers or {})
    if error.status_code == 400:
        return _respond(request, 400, problem(InvalidRequest(error.detail)), error.headers or {})
    body = {"type": "about:blank", "title": error.detail, "status": error.status_code, "detail": error.detail}
    return _respond(request, error.status_code, body, error.headers or {})


async def _unexpected(request: Request, error: Exception) -> Response:
    """A fault of the hub: everything goes to the log, nothing about the inside to the client."""
    log.error("unexpected_error", method=request.method, path=request.url.path, exc_info=error)
    body = problem(InternalError("The hub failed to process the request; the operator's log tells why"))
    return _respond(request, 500, body, {})


_HANDLERS: Final[dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = {
    NgsiLdError: _ngsi_ld_error,
    UnacceptableRequest: _unacceptable,
    StoreUnavailable: _store_unavailable,
    RequestValidationError: _validation_error,
    HTTPException: _http_exception,
    Exception: _unexpected,
}
