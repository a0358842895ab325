# SPDX-License-Identifier: Apache-2.0
"""Errors of the hub, named as in clause 5.5.2 of ETSI GS CIM 009 V1.9.1.

::

    MinamoError
    ├── NgsiLdError                 type URI, title and detail; only api/http/problem_details.py knows HTTP statuses
    │   ├── InvalidRequest          malformed request (not JSON, unknown parameter)
    │   ├── BadRequestData          well-formed request whose content breaks a rule
    │   ├── AlreadyExists
    │   ├── OperationNotSupported
    │   ├── ResourceNotFound
    │   ├── InternalError
    │   ├── TooComplexQuery
    │   ├── TooManyResults
    │   ├── LdContextNotAvailable
    │   ├── NoMultiTenantSupport
    │   ├── NonexistentTenant
    │   └── Conflict
    └── StoreUnavailable            the database cannot be reached; the caller may try again
"""

from __future__ import annotations

from typing import ClassVar

from schemas.terms import ERROR_TYPE


class MinamoError(Exception):
    """Something went wrong in the hub."""


class StoreUnavailable(MinamoError):
    """The database cannot be reached or ended the connection; the work was not committed and may be tried again."""


class NgsiLdError(MinamoError):
    """The request cannot be done as asked."""

    name: ClassVar[str] = "InternalError"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(detail or self.title)

    @property
    def type(self) -> str:
        """The error type URI."""
        return ERROR_TYPE + self.name

    @property
    def title(self) -> str:
        """The class docstring: a short sentence that is the same for every occurrence."""
        return (type(self).__doc__ or self.name).strip()


class InvalidRequest(NgsiLdError):
    """The request is syntactically invalid or includes wrong content."""

    name = "InvalidRequest"


class BadRequestData(NgsiLdError):
    """The request includes input data which does not meet the requirements of the operation."""

    name = "BadRequestData"


class AlreadyExists(NgsiLdError):
    """The referred element already exists."""

    name = "AlreadyExists"


class OperationNotSupported(NgsiLdError):
    """The operation is not supported."""

    name = "OperationNotSupported"


class ResourceNotFound(NgsiLdError):
    """The referred resource has not been found."""

    name = "ResourceNotFound"


class InternalError(NgsiLdError):
    """There has been an error during the operation execution."""

    name = "InternalError"


class TooComplexQuery(NgsiLdError):
    """The query associated to the operation is too complex and cannot be resolved."""

    name = "TooComplexQuery"


class TooManyResults(NgsiLdError):
    """The query produces so many results that they can exhaust client or server resources."""

    name = "TooManyResults"


class LdContextNotAvailable(NgsiLdError):
    """A remote JSON-LD @context referenced in a request cannot be retrieved or is not valid."""

    name = "LdContextNotAvailable"


class NoMultiTenantSupport(NgsiLdError):
    """The operation does not support multi-tenancy."""

    name = "NoMultiTenantSupport"


class NonexistentTenant(NgsiLdError):
    """The addressed tenant does not exist."""

    name = "NonexistentTenant"


class Conflict(NgsiLdError):
    """The operation conflicts with the current state of the resource."""

    name = "Conflict"
