# SPDX-License-Identifier: Apache-2.0
"""What the core needs from outside: small Protocols that the outer packages implement."""

from __future__ import annotations

from typing import Any, Protocol


class ContextLoader(Protocol):
    """Brings JSON-LD context documents from outside the package (bundled ones never reach it)."""

    async def load(self, url: str) -> dict[str, Any]:
        """The JSON document at ``url``, with its ``@context`` member.

        Raises :class:`~broker.errors.LdContextNotAvailable` when it cannot be had or is too big, and
        :class:`~broker.errors.BadRequestData` when it is no JSON object with an ``@context`` member.
        The loader owns time and size limits and any durable cache, and never caches a failure as a document.
        """
        ...


class HostedContextFinder(Protocol):
    """Knows the contexts that tenants store with the hub (clause 5.13)."""

    async def find(self, local_id: str, tenant: str) -> dict[str, Any] | None:
        """The document with the identifier ``local_id`` of the tenant with this name ("" is the default), or None."""
        ...
