# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/web-push`` and ``/api/v1/contacts/{name}/browsers``: browsers that are told by push messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api.access.actors import RequestActor
from api.alerting.web_push import public_push_key
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.contacts import MOST_BROWSERS, Enrolment
from broker.errors import BadRequestData
from broker.sections import read_document
from broker.times import to_text
from context_store.alerts.audit import add_entry
from context_store.contacts.browsers import EnrolledBrowser, add_browser, browsers_of, end_browser
from context_store.contacts.documents import get_document


def add_browser_routes(router: APIRouter, hub: Hub) -> None:
    """The routes on ``hub``, under the prefix of ``router``."""

    @router.get("/web-push", summary="The key that browsers enrol for / 公開鍵", responses=answers("WebPushKey"))
    async def key() -> Json:
        return Json({"publicKey": await public_push_key(hub.settings, hub.database, hub.sealer)})

    @router.get(
        "/contacts/{name}/browsers",
        summary="Browsers that a contact enrolled / 登録されたブラウザー",
        responses=answers("Browsers", *NEEDED),
    )
    async def browsers(tenant_id: TenantId, name: str) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            await get_document(connection, tenant_id, "contact", name)
            found = (await browsers_of(connection, tenant_id, [name])).get(name, [])
        return Json({"browsers": [browser_document(one) for one in found]})

    @router.post(
        "/contacts/{name}/browsers",
        summary="Enrol a browser for push messages / ブラウザーを登録",
        responses=answers("Browser", *NEEDED, statuses=(201,)),
        openapi_extra=takes("BrowserInput"),
    )
    async def enrol(tenant_id: TenantId, name: str, actor: RequestActor, body: JsonObject) -> Json:
        enrolment = read_document(Enrolment, body)
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            await get_document(connection, tenant_id, "contact", name)
            browser_id = await add_browser(connection, tenant_id, name, enrolment, now)
            known = (await browsers_of(connection, tenant_id, [name]))[name]
            if len(known) > MOST_BROWSERS:
                raise BadRequestData(f"{name} has {MOST_BROWSERS} browsers / ブラウザーは {MOST_BROWSERS} 台までです")
            shown = browser_document(next(one for one in known if one.browser_id == browser_id))
            await add_entry(connection, tenant_id, actor, "browser.enrol", name, now, details=shown)
        return Json(shown, 201)

    @router.delete(
        "/contacts/{name}/browsers/{browser_id}",
        summary="End the enrolment of a browser / ブラウザーの登録を終える",
        status_code=204,
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def end(tenant_id: TenantId, name: str, browser_id: str, actor: RequestActor) -> Response:
        now = datetime.now(UTC)
        async with hub.database.transaction(tenant_id) as connection:
            await end_browser(connection, tenant_id, name, browser_id, f"by {actor.shown}", now)
            await add_entry(connection, tenant_id, actor, "browser.end", name, now, details={"browserId": browser_id})
        return Response(status_code=204)


def browser_document(one: EnrolledBrowser) -> dict[str, Any]:
    """As others may see it: the address and keys are secrets."""
    return {
        "browserId": one.browser_id,
        "contactId": one.contact_id,
        "label": one.label,
        "service": one.browser.service,
        "enrolledAt": to_text(one.created_at),
    }
