# SPDX-License-Identifier: Apache-2.0
"""``/info/sourceIdentity``: who this hub is to other brokers (clauses 5.15.1 and 6.33)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import answer, answering_terms, linked_terms, negotiate
from api.http.problem_details import TENANT_HEADER
from api.hub import Hub
from api.ngsild.operation import found, operation
from api.ngsild.parameters import Parameters
from api.ngsild.resource import Resource
from broker.times import to_text
from context_store.tenants import DEFAULT_TENANT, hub_identity

_PSEUDONYM: Final = "!#$&'*+^`|"  # what a pseudonym may hold (RFC 7230) beside letters, digits, "-._~" and "%"


class SourceIdentity:
    """Tells the alias by which loops of forwarded requests are found: one for each tenant, always the same.

    Without the setting, the alias is made from the database, so that all processes on it are one hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._alias = hub.settings.context_source_alias
        self._started = time.monotonic()

    @operation(answers=(found("ContextSourceIdentity"),), errors=())
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Context Source Identity Information: implements 6.33.3.1."""
        media_type = negotiate(request)
        Parameters(request)
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        alias = await self.alias(request.headers.get(TENANT_HEADER) or DEFAULT_TENANT)
        payload = {
            "id": f"urn:ngsi-ld:ContextSourceIdentity:{uuid5(NAMESPACE_URL, alias)}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": alias,
            "contextSourceUptime": f"PT{int(time.monotonic() - self._started)}S",
            "contextSourceTimeAt": to_text(datetime.now(UTC)),
        }
        return answer(request, payload, terms, media_type)

    async def alias(self, tenant: str) -> str:
        """The pseudonym of this hub for ``tenant``."""
        if self._alias is None:
            self._alias = f"minamo-{uuid5(NAMESPACE_URL, await hub_identity(self._hub.database)).hex[:12]}"
        return self._alias if tenant == DEFAULT_TENANT else f"{self._alias}.{quote(tenant, safe=_PSEUDONYM)}"


def info_routes(hub: Hub) -> list[Resource]:
    """The resources about the hub itself."""
    return [Resource("/info/sourceIdentity", GET=SourceIdentity(hub).retrieve)]
