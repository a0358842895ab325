# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/subscriptions`` and ``/api/v1/dead-letters``: how deliveries go, what was given up, catching up."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.http.problem_details import UnacceptableRequest
from api.http.requests import JsonObject, RowNumber, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.errors import BadRequestData, OperationNotSupported
from broker.subscriptions import PULLED_URI, status
from broker.times import to_text, to_text_or_none
from context_store.deliveries.dead_letters import DeadLetter, DeadLetterStore
from context_store.deliveries.status import DeliveryStatusStore, SubscriptionStatus
from context_store.sealing import HIDDEN
from context_store.subscriptions.notifications import Missing, Notification, NotificationLog

# Headers that may open doors elsewhere: that they were sent is enough to know.
_SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "x-api-key", "x-auth-token", "proxy-authorization"})


def deliveries_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["deliveries"])
    _status(router, DeliveryStatusStore(hub.database))
    _catching_up(router, NotificationLog(hub.database))
    _dead_letters(router, DeadLetterStore(hub.database))
    return router


def _status(router: APIRouter, store: DeliveryStatusStore) -> None:
    @router.get(
        "/subscriptions",
        summary="How the deliveries of subscriptions go / サブスクリプションの配信状況",
        responses=answers("SubscriptionStatuses"),
    )
    async def subscriptions(
        tenant_id: TenantId,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: RowNumber = 0,
    ) -> Json:
        found = await store.page(tenant_id, limit=limit, offset=offset)
        now = datetime.now(UTC)
        return Json({"subscriptions": [status_document(one, now) for one in found]})

    @router.get(
        "/subscriptions/{subscription_id}",
        summary="How the deliveries of a subscription go / 一つのサブスクリプションの配信状況",
        responses=answers("SubscriptionStatus", *NEEDED),
    )
    async def subscription(tenant_id: TenantId, subscription_id: str) -> Json:
        return Json(status_document(await store.get(tenant_id, subscription_id), datetime.now(UTC)))


def _catching_up(router: APIRouter, notifications: NotificationLog) -> None:
    @router.get(
        "/subscriptions/{subscription_id}/notifications",
        summary="The notifications behind a number / ある番号より後の通知",
        responses=answers("Notifications", *NEEDED),
    )
    async def listed(
        tenant_id: TenantId,
        subscription_id: str,
        after: Annotated[RowNumber, Query(description="The last number that is known")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        found = await notifications.find(tenant_id, subscription_id)
        items = await notifications.read(tenant_id, found.key, after, limit=limit)
        return Json(_listed(items, found.last_sequence))

    @router.post(
        "/subscriptions/{subscription_id}/catch-up",
        status_code=202,
        summary="Send everything behind a number again / ある番号より後の通知を送り直す",
        responses=answers("CatchUpResult", *NEEDED, OperationNotSupported, statuses=(202,))
        | {410: {"description": "Some of it was removed after its retention; missing says what"}},
        openapi_extra=takes("CatchUp"),
    )
    async def catch_up(tenant_id: TenantId, subscription_id: str, body: JsonObject) -> Json:
        after, partial = _catch_up_request(body)
        found = await notifications.find(tenant_id, subscription_id)
        if found.endpoint == PULLED_URI:
            raise OperationNotSupported("The subscription is pulled: read its stream or notifications after the number")
        result = await notifications.catch_up(tenant_id, found.key, after, partial=partial)
        missing = [_missing(gap) for gap in result.missing]
        if missing and not partial:
            raise UnacceptableRequest(410, _gone(after, missing))
        return Json({"queued": result.count, "missing": missing}, status_code=202)


def _dead_letters(router: APIRouter, letters: DeadLetterStore) -> None:
    @router.get(
        "/dead-letters",
        summary="Deliveries that were given up, newest first / 配信不能の通知",
        responses=answers("DeadLetters"),
    )
    async def listed(
        tenant_id: TenantId,
        subscription: Annotated[str | None, Query(alias="subscriptionId")] = None,
        before: Annotated[RowNumber | None, Query(description="The last number of the previous page")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        found = await letters.page(tenant_id, subscription_id=subscription, before=before, limit=limit)
        return Json({"deadLetters": [letter_document(letter) for letter in found]})

    @router.get(
        "/dead-letters/{number}",
        summary="A dead letter with body, headers and answers / 一件の詳細",
        responses=answers("DeadLetter", *NEEDED),
    )
    async def one(tenant_id: TenantId, number: RowNumber) -> Json:
        return Json(letter_document(await letters.get(tenant_id, number)))

    @router.post(
        "/dead-letters/replay",
        summary="Deliver all again, or those of a subscription / まとめて再送",
        responses=answers("Replayed"),
    )
    async def replay_all(
        tenant_id: TenantId, subscription: Annotated[str | None, Query(alias="subscriptionId")] = None
    ) -> Json:
        return Json({"replayed": await letters.replay(tenant_id, subscription_id=subscription)})

    @router.post(
        "/dead-letters/{number}/replay",
        summary="Deliver a dead letter again / 一件の再送",
        responses=answers("Replayed", *NEEDED),
    )
    async def replay(tenant_id: TenantId, number: RowNumber) -> Json:
        return Json({"replayed": await letters.replay(tenant_id, delivery_id=number)})

    @router.delete(
        "/dead-letters",
        summary="Drop the dead letters of a subscription / まとめて破棄",
        responses=answers("Dropped"),
    )
    async def drop_all(tenant_id: TenantId, subscription: Annotated[str, Query(alias="subscriptionId")]) -> Json:
        return Json({"dropped": await letters.drop(tenant_id, subscription_id=subscription)})

    @router.delete(
        "/dead-letters/{number}",
        status_code=204,
        summary="Drop a dead letter / 一件の破棄",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def drop(tenant_id: TenantId, number: RowNumber) -> Response:
        await letters.drop(tenant_id, delivery_id=number)
        return Response(status_code=204)


def _catch_up_request(body: dict[str, Any]) -> tuple[int, bool]:
    after, partial = body.get("after"), body.get("partial", False)
    if isinstance(after, bool) or not isinstance(after, int) or after < 0:
        raise BadRequestData("after is not the number of a notification (0 for all)")
    if not isinstance(partial, bool):
        raise BadRequestData("partial is neither true nor false")
    return after, partial


def _gone(after: int, missing: list[dict[str, int]]) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": "Gone",
        "status": 410,
        "detail": f"Not all notifications after {after} are kept any more. Ask after a later number, or with partial",
        "missing": missing,
    }


def _listed(items: list[Notification | Missing], last: int) -> dict[str, Any]:
    return {
        "notifications": [_notification(item) for item in items if isinstance(item, Notification)],
        "missing": [_missing(item) for item in items if isinstance(item, Missing)],
        "last": last,
    }


def _notification(notification: Notification) -> dict[str, Any]:
    return {
        "sequence": notification.sequence,
        "deliveryId": notification.delivery_id,
        "state": notification.state,
        "createdAt": to_text(notification.created_at),
        "contentType": notification.headers.get("Content-Type"),
        "link": notification.headers.get("Link"),
        "body": orjson.Fragment(notification.body),
    }


def _missing(gap: Missing) -> dict[str, int]:
    return {"from": gap.first, "to": gap.last}


def status_document(found: SubscriptionStatus, now: datetime) -> dict[str, Any]:
    """How it goes, as JSON; ``lastError`` is what the receiver answered to the last attempt that failed."""
    return {
        "id": found.id,
        "status": status(found.document, now),
        "endpoint": found.endpoint,
        "lastSequence": found.last_sequence,
        "firstAvailable": found.first_available,
        "timesSent": found.times_sent,
        "timesFailed": found.times_failed,
        "pending": found.pending,
        "oldestPendingSeconds": round((now - found.oldest_at).total_seconds(), 3) if found.oldest_at else None,
        "inFlight": found.in_flight,
        "stalled": found.stalled,
        "deadLetters": found.dead,
        "lastNotification": to_text_or_none(found.last_notification),
        "lastSuccess": to_text_or_none(found.last_success),
        "lastFailure": to_text_or_none(found.last_failure),
        "lastError": found.last_error,
    }


def letter_document(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as JSON: in lists without headers and body."""
    document = {
        "id": letter.delivery_id,
        "kind": letter.kind,
        "subscriptionId": letter.subscription_id,
        "sequence": letter.sequence,
        "destination": letter.destination,
        "attempts": letter.attempts,
        "createdAt": to_text(letter.created_at),
        "diedAt": to_text(letter.died_at),
        "lastError": letter.last_error,
        "size": letter.size,
    }
    if letter.body is None:
        return document
    headers = {
        name: HIDDEN if not isinstance(value, str) or name.lower() in _SECRET_HEADERS else value
        for name, value in (letter.headers or {}).items()
    }
    return {**document, "answers": letter.failures, "headers": headers, **_body(letter.body)}


def _body(body: bytes) -> dict[str, Any]:
    try:
        return {"body": orjson.loads(body)}
    except orjson.JSONDecodeError:
        return {"bodyBase64": base64.b64encode(body).decode()}
