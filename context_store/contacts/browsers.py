# SPDX-License-Identifier: Apache-2.0
"""Browsers enrolled for push messages. The caller owns the transaction and its tenant."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.contacts import ENROLMENT_ENDED, Browser, Enrolment
from broker.errors import ResourceNotFound
from context_store.rows import rows_of, tuples_of
from context_store.tenants import DEFAULT_TENANT

_LIST: Final[LiteralString] = """
    select b.browser_id, b.contact_id, b.endpoint, b.p256dh, b.auth, b.label, b.created_at, t.name as tenant
      from web_push_browser b join tenant t using (tenant_id)
     where b.tenant_id = %s and b.contact_id = any(%s) and b.ended_at is null order by b.created_at, b.browser_id
"""
_REMOVE_SAME: Final[LiteralString] = """
    update web_push_browser set ended_at = %s, end_reason = 'enrolled again'
     where tenant_id = %s and md5(endpoint) = md5(%s) and ended_at is null
"""
_ADD: Final[LiteralString] = """
    insert into web_push_browser (tenant_id, browser_id, contact_id, endpoint, p256dh, auth, label, created_at)
    values (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_COPY: Final[LiteralString] = """
    insert into web_push_browser (tenant_id, browser_id, contact_id, endpoint, p256dh, auth, label, created_at)
    select %s, browser_id, contact_id, endpoint, p256dh, auth, label, created_at from web_push_browser
     where tenant_id = %s and contact_id = any(%s) and ended_at is null
"""
_END: Final[LiteralString] = """
    update web_push_browser set ended_at = %s, end_reason = %s
     where tenant_id = %s and contact_id = %s and browser_id = %s and ended_at is null
"""
_END_ALL: Final[LiteralString] = """
    update web_push_browser set ended_at = %s, end_reason = %s
     where tenant_id = %s and contact_id = %s and ended_at is null
"""
# Those whose push service said in the last hour that they are gone. The key of a stream ends with "b" and the browser.
_END_GONE: Final[LiteralString] = """
    update web_push_browser b set ended_at = now(), end_reason = n.error
      from contact_notice n
     where n.channel = 'webpush' and n.state = 'failed' and n.finished_at > now() - interval '1 hour'
       and starts_with(n.error, %s) and b.ended_at is null and b.tenant_id = n.tenant_id
       and n.order_key = format('contact:%%s:%%s:b%%s', b.tenant_id, b.contact_id, b.browser_id)
    returning b.tenant_id, b.contact_id, b.browser_id, b.end_reason
"""


@dataclass(frozen=True, slots=True)
class EnrolledBrowser:
    """A browser and whose it is, in which tenant."""

    browser_id: str
    contact_id: str
    endpoint: str
    p256dh: str
    auth: str
    label: str
    created_at: datetime
    tenant: str

    @property
    def browser(self) -> Browser:
        """As those who send need it."""
        tenant = "" if self.tenant == DEFAULT_TENANT else self.tenant
        return Browser(self.browser_id, self.endpoint, self.p256dh, self.auth, self.label, tenant)


async def browsers_of(
    connection: AsyncConnection, tenant_id: int, contacts: Collection[str]
) -> dict[str, list[EnrolledBrowser]]:
    """The browsers of these contacts, by contact, the oldest first."""
    found: dict[str, list[EnrolledBrowser]] = {}
    for row in await rows_of(connection, EnrolledBrowser, _LIST, (tenant_id, list(contacts))):
        found.setdefault(row.contact_id, []).append(row)
    return found


async def add_browser(
    connection: AsyncConnection, tenant_id: int, contact_id: str, enrolment: Enrolment, now: datetime
) -> str:
    """Enrol a browser; one that was enrolled before is that contact's now. Returns its number."""
    browser_id, subscription = secrets.token_hex(6), enrolment.subscription
    await connection.execute(_REMOVE_SAME, (now, tenant_id, subscription.endpoint))
    keys = subscription.keys
    row = (subscription.endpoint, keys.p256dh, keys.auth, enrolment.label.strip(), now)
    await connection.execute(_ADD, (tenant_id, browser_id, contact_id, *row))
    return browser_id


async def copy_browsers(
    connection: AsyncConnection, tenant_id: int, to_tenant_id: int, contacts: Collection[str]
) -> None:
    """Enrol the browsers of these contacts in another tenant of theirs: a drill. For transactions of all tenants."""
    await connection.execute(_COPY, (to_tenant_id, tenant_id, list(contacts)))


async def end_browser(
    connection: AsyncConnection, tenant_id: int, contact_id: str, browser_id: str, reason: str, now: datetime
) -> None:
    """It gets nothing any more. Raises :class:`ResourceNotFound`."""
    if not (await connection.execute(_END, (now, reason, tenant_id, contact_id, browser_id))).rowcount:
        raise ResourceNotFound(f"Browser {browser_id} of {contact_id} does not exist")


async def end_all(connection: AsyncConnection, tenant_id: int, contact_id: str, reason: str, now: datetime) -> None:
    """None of a contact's browsers gets anything any more."""
    await connection.execute(_END_ALL, (now, reason, tenant_id, contact_id))


async def end_gone(connection: AsyncConnection) -> list[tuple[int, str, str, str]]:
    """End what push services say is gone; returns tenant, contact, browser and why."""
    return await tuples_of(connection, _END_GONE, (ENROLMENT_ENDED,))
