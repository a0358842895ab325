# SPDX-License-Identifier: Apache-2.0
"""``/csourceSubscriptions``: being told of context sources that come, change and go (clauses 5.11, 6.12 and 6.13)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import REPRESENTATIONS
from api.hub import Hub
from api.ngsild.operation import CREATED, LOOKUP, READING, found, operation
from api.ngsild.paging import COUNT_HEADER, PAGE_PARAMETERS
from api.ngsild.resource import Resource
from api.ngsild.source_notifications import SourceNotifier
from api.routers.subscriptions import SYS_ATTRS, SubscriptionOperations
from broker.contexts.jsonld import TermMap
from broker.errors import AlreadyExists, OperationNotSupported
from broker.registrations.subscriptions import MEMBERS, read_source_subscription
from broker.subscriptions import Document
from broker.validation import fault
from context_store.subscriptions.rows import StoredSubscription, SubscriptionStore
from schemas.terms import GEO_JSON


class CsourceSubscriptions(SubscriptionOperations):
    """The operations on subscriptions to registrations."""

    path = "csourceSubscriptions"
    members = MEMBERS
    names_context = False

    def __init__(self, hub: Hub) -> None:
        follow = SourceNotifier(hub).subscription_changed
        super().__init__(hub, SubscriptionStore(hub.database, hub.sealer, about_sources=True, follow=follow))

    @operation(body="CSourceSubscription", answers=(CREATED,), errors=(AlreadyExists, OperationNotSupported))
    async def create(self, request: Request) -> Response:
        """Create Context Source Registration Subscription: implements 6.12.3.1."""
        return await self._create(request)

    @operation(
        PAGE_PARAMETERS | {"options"},
        options=(SYS_ATTRS,),
        answers=(found("CSourceSubscriptions", REPRESENTATIONS, COUNT_HEADER),),
        errors=READING,
    )
    async def query(self, request: Request) -> Response:
        """Query Context Source Registration Subscriptions: implements 6.12.3.2."""
        return await self._query(request)

    @operation(("options",), options=(SYS_ATTRS,), answers=(found("CSourceSubscriptionRepresentation"),), errors=LOOKUP)
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Context Source Registration Subscription: implements 6.13.3.1."""
        return await self._retrieve(request)

    @operation(body="CSourceSubscriptionFragment", errors=(*LOOKUP, OperationNotSupported))
    async def update(self, request: Request) -> Response:
        """Update Context Source Registration Subscription: implements 6.13.3.2."""
        return await self._update(request)

    @operation(uses_context=False, errors=LOOKUP)
    async def delete(self, request: Request) -> Response:
        """Delete Context Source Registration Subscription: implements 6.13.3.3."""
        return await self._delete(request)

    def _read(self, document: Document, subscription_id: str) -> None:
        subscription = read_source_subscription(document, subscription_id)
        if subscription.endpoint.accept == GEO_JSON:
            raise fault("notification.endpoint.accept", "registrations are no features of GeoJSON")

    def _shown(self, stored: StoredSubscription, terms: TermMap, *, sys_attrs: bool) -> dict[str, Any]:
        shown = super()._shown(stored, terms, sys_attrs=sys_attrs)
        return {
            name: value for name, value in shown.items() if name != "notificationTrigger" or name in stored.document
        }


def csource_subscription_routes(hub: Hub) -> list[Resource]:
    """The resources of subscriptions to registrations."""
    subscriptions = CsourceSubscriptions(hub)
    return [
        Resource("/csourceSubscriptions", GET=subscriptions.query, POST=subscriptions.create),
        Resource(
            "/csourceSubscriptions/{subscription_id}",
            GET=subscriptions.retrieve,
            PATCH=subscriptions.update,
            DELETE=subscriptions.delete,
        ),
    ]
