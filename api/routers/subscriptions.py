# SPDX-License-Identifier: Apache-2.0
"""``/subscriptions``: creating, reading, changing and deleting subscriptions (clauses 6.10 and 6.11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from adapters.channels.sending import check_destination
from adapters.web.guard import ForbiddenDestination
from api.access.secrets_shown import reveal
from api.http.negotiation import (
    REPRESENTATIONS,
    answer,
    answering_terms,
    created_tenant,
    existing_tenant,
    linked_terms,
    negotiate,
    own_url,
    read_document,
    tenant_name,
)
from api.hub import Hub
from api.ngsild.operation import CREATED, LOOKUP, READING, found, operation
from api.ngsild.paging import COUNT_HEADER, PAGE_PARAMETERS, count_header, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.resource import Resource, location
from broker.contexts.jsonld import TermMap
from broker.document_members import Read
from broker.errors import AlreadyExists, BadRequestData, OperationNotSupported
from broker.subscriptions import (
    PULLED_URI,
    Document,
    Sending,
    check_expiry,
    expand_subscription,
    merge,
    read_subscription,
    represent_subscription,
    status,
    take_sending,
)
from broker.times import to_text
from broker.validation import check_uri
from context_store.sealing import in_subscription
from context_store.subscriptions.rows import StoredSubscription, SubscriptionStore
from schemas.contexts import context_url, hosted_path

SYS_ATTRS: Final = "sysAttrs"


class SubscriptionOperations:
    """What is the same for all kinds of subscriptions; ``path`` is that of their resource."""

    path = "subscriptions"
    members: Mapping[str, Read] = {}
    """Members that only this kind has."""
    names_context = True
    """Whether the hub says which ``@context`` notifications have where the client does not (clause 5.8.1.4)."""

    def __init__(self, hub: Hub, store: SubscriptionStore) -> None:
        self._hub = hub
        self._store = store

    async def _create(self, request: Request) -> Response:
        Parameters(request)
        given = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        document = expand_subscription(given.body, given.terms, more=self.members)
        subscription_id = check_uri(given.body.get("id", f"urn:ngsi-ld:Subscription:{uuid4()}"), "id")
        check_expiry(document, datetime.now(UTC))
        document, sending = await self._checked(document, subscription_id, tenant_name(request))
        tenant_id = await created_tenant(request, self._hub.tenants)
        if self.names_context and "jsonldContext" not in document:
            document["jsonldContext"] = await self._linkable(request, tenant_id, given.terms.context)
        await self._store.create(tenant_id, subscription_id, document, given.terms.context, sending)
        return Response(status_code=201, headers={"Location": location(self.path, subscription_id)})

    async def _query(self, request: Request) -> Response:
        media_type = negotiate(request)
        parameters = Parameters(request)
        sys_attrs = SYS_ATTRS in parameters.options()
        settings = self._hub.settings
        page = read_page(parameters, default_limit=settings.query_default_limit, max_limit=settings.query_max_limit)
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        found, more, total = await self._store.page(tenant_id, limit=page.limit, offset=page.offset, count=page.count)
        links = page_links(request, page, media_type, more=more)
        payload = [self._shown(self._readable(request, stored), terms, sys_attrs=sys_attrs) for stored in found]
        return answer(request, payload, terms, media_type, links=links, headers=count_header(total))

    async def _retrieve(self, request: Request) -> Response:
        media_type = negotiate(request)
        parameters = Parameters(request)
        sys_attrs = SYS_ATTRS in parameters.options()
        subscription_id = _id_of(request)
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        stored = await self._store.get_booked(await existing_tenant(request, self._hub.tenants), subscription_id)
        payload = self._shown(self._readable(request, stored), terms, sys_attrs=sys_attrs)
        return answer(request, payload, terms, media_type)

    async def _update(self, request: Request) -> Response:
        Parameters(request)
        subscription_id = _id_of(request)
        given = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        if given.body.get("id", subscription_id) != subscription_id:
            raise BadRequestData("id: the id of a subscription cannot be changed")
        fragment = expand_subscription(given.body, given.terms, fragment=True, more=self.members)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        stored = await self._store.get(tenant_id, subscription_id)
        now = datetime.now(UTC)
        check_expiry(_given(fragment), now)
        before = (stored.document, stored.sending)
        await self._checked(_changed(stored.document, fragment, now), subscription_id, tenant_name(request), before)

        def change(document: Document, sending: Sending) -> tuple[Document, Sending]:
            changed = _changed(document, fragment, now)
            self._read(changed, subscription_id)
            return take_sending(changed, (document, sending))

        await self._store.update(tenant_id, subscription_id, change)
        return Response(status_code=204)

    async def _delete(self, request: Request) -> Response:
        Parameters(request)
        subscription_id = _id_of(request)
        await self._store.delete(await existing_tenant(request, self._hub.tenants), subscription_id)
        return Response(status_code=204)

    async def _linkable(self, request: Request, tenant_id: int, context: Any) -> str:
        """The address that stands for ``context`` in notifications; the hub gives it one when it has none (5.13.1)."""
        if (url := context_url(context)) is not None:
            return url
        local_id = await self._hub.hosted_contexts.add_implicitly(tenant_id, context, datetime.now(UTC))
        url = own_url(request, hosted_path(local_id))
        await self._hub.contexts.resolve(url, tenant_name(request))
        return url

    async def _checked(
        self, document: Document, subscription_id: str, tenant: str, before: tuple[Document, Sending] | None = None
    ) -> tuple[Document, Sending]:
        """``document`` without its secrets, and how it is sent (:func:`take_sending`).

        Raises :class:`BadRequestData` unless the hub can serve it.
        """
        self._read(document, subscription_id)
        document, sending = take_sending(document, before)
        try:
            if (uri := document["notification"]["endpoint"]["uri"]) != PULLED_URI:
                check_destination(uri)
        except ForbiddenDestination as exc:
            raise BadRequestData(f"notification.endpoint.uri: {exc}") from exc
        if "jsonldContext" in document:
            await self._hub.contexts.resolve(document["jsonldContext"], tenant)
        return document, sending

    def _readable(self, request: Request, stored: StoredSubscription) -> StoredSubscription:
        """With its ``receiverInfo`` as it was given, for who may see it."""
        return replace(stored, document=in_subscription(stored.document, reveal(self._hub, request)))

    def _shown(self, stored: StoredSubscription, terms: TermMap, *, sys_attrs: bool) -> dict[str, Any]:
        shown = represent_subscription(stored.document, stored.id, stored.counters, terms, datetime.now(UTC))
        if sys_attrs:
            shown |= {"createdAt": to_text(stored.created_at), "modifiedAt": to_text(stored.modified_at)}
        return shown

    def _read(self, document: Document, subscription_id: str) -> None:
        """Raise :class:`BadRequestData` when members do not go together."""
        read_subscription(document, subscription_id)


class Subscriptions(SubscriptionOperations):
    """The operations on subscriptions to entities."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub, SubscriptionStore(hub.database, hub.sealer))

    @operation(body="Subscription", answers=(CREATED,), errors=(AlreadyExists, OperationNotSupported))
    async def create(self, request: Request) -> Response:
        """Create Subscription: implements 6.10.3.1."""
        return await self._create(request)

    @operation(
        PAGE_PARAMETERS | {"options"},
        options=(SYS_ATTRS,),
        answers=(found("Subscriptions", REPRESENTATIONS, COUNT_HEADER),),
        errors=READING,
    )
    async def query(self, request: Request) -> Response:
        """Query Subscriptions: implements 6.10.3.2."""
        return await self._query(request)

    @operation(("options",), options=(SYS_ATTRS,), answers=(found("SubscriptionRepresentation"),), errors=LOOKUP)
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Subscription: implements 6.11.3.1."""
        return await self._retrieve(request)

    @operation(body="SubscriptionFragment", errors=(*LOOKUP, OperationNotSupported))
    async def update(self, request: Request) -> Response:
        """Update Subscription: implements 6.11.3.2."""
        return await self._update(request)

    @operation(uses_context=False, errors=LOOKUP)
    async def delete(self, request: Request) -> Response:
        """Delete Subscription: implements 6.11.3.3."""
        return await self._delete(request)


def _given(fragment: Document) -> Document:
    """The members that a fragment sets, without those it removes."""
    return merge({}, fragment)


def _changed(document: Document, fragment: Document, now: datetime) -> Document:
    """``document`` with ``fragment``; an expired subscription that gets a new time only is active again (5.8.2.4)."""
    changed = merge(document, fragment)
    if "expiresAt" in fragment and "isActive" not in fragment and status(document, now) == "expired":
        changed.pop("isActive", None)
    return changed


def _id_of(request: Request) -> str:
    return check_uri(request.path_params["subscription_id"], "The subscription id")


def subscription_routes(hub: Hub) -> list[Resource]:
    """The resources of subscriptions."""
    subscriptions = Subscriptions(hub)
    return [
        Resource("/subscriptions", GET=subscriptions.query, POST=subscriptions.create),
        Resource(
            "/subscriptions/{subscription_id}",
            GET=subscriptions.retrieve,
            PATCH=subscriptions.update,
            DELETE=subscriptions.delete,
        ),
    ]
