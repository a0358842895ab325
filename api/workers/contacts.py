# SPDX-License-Identifier: Apache-2.0
"""Telling people: steps of alarms become notices and deliveries, each exactly once.

Everything of one turn is one transaction with the cursor, so whatever dies, nobody is forgotten and nobody is put into
the outbox twice. A contact that gets too many messages in a minute gets the rest as one, and so does one that wants to
be left alone for the night; the highest levels wait for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from api.metrics import NOTICES
from api.workers.repeating import RepeatingWorker
from broker.alerts.states import in_unit
from broker.contacts import (
    Contact,
    Roster,
    Way,
    is_urgent,
    payload,
    recipients,
    test_words,
    words_of,
    words_of_many,
)
from broker.subscriptions import Sending
from context_store.alerts.alarm_reads import AlarmStep, read_steps
from context_store.alerts.audit import Actor, add_entry
from context_store.alerts.trend import change_of
from context_store.contacts.browsers import EnrolledBrowser, browsers_of, end_gone
from context_store.contacts.documents import load_roster
from context_store.contacts.notices import (
    HeldFor,
    NewNotice,
    add_failed_notice,
    add_notice,
    due_notices,
    last_minute,
    merge,
    move_cursor,
    settle,
    take_cursor,
    told_before,
)
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries.outbox import NewDelivery, Priority, insert_deliveries
from context_store.tenants import DEFAULT_TENANT, tenant_name

_STEPS_AT_ONCE: Final = 100
_MINUTE: Final = timedelta(minutes=1)
_PAUSE_AFTER_ERROR_S: Final = 1.0
_OF_A_LEVEL: Final = frozenset({"raised", "escalated", "downgraded"})
_SAME: Final = 1e-6
_NO_WAY: Final = "the contact has no channel / 連絡手段がありません"
_HUB: Final = Actor("minamo")


class ContactWorker(RepeatingWorker):
    """Tells people until cancelled."""

    def __init__(self, database: Database, *, poll_s: float, public_url: str | None = None) -> None:
        """``public_url``: where people find the hub's pages, for the links in messages."""
        super().__init__("contacts", rest_s=poll_s, pause_s=_PAUSE_AFTER_ERROR_S)
        self._database = database
        self._public_url = public_url

    async def turn(self, now: datetime) -> bool:
        """Tell what is new, then what was held and is due; returns whether there was anything new."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            cursor = await take_cursor(connection)
            if cursor is None:
                return False
            steps = await read_steps(connection, ALL_TENANTS, cursor, limit=_STEPS_AT_ONCE)
            rosters: dict[int, Roster] = {}
            for step in steps:
                roster = await _roster(connection, rosters, step.tenant_id)
                await _tell(connection, roster, step, now, self._public_url)
            if steps:
                await move_cursor(connection, steps[-1].alarm_step_id)
            await _tell_held(connection, rosters, now)
            if await settle(connection):
                await _forget_browsers(connection, now)
            return bool(steps)


async def _roster(connection: AsyncConnection, known: dict[int, Roster], tenant_id: int) -> Roster:
    if tenant_id not in known:
        known[tenant_id] = await load_roster(connection, tenant_id)
    return known[tenant_id]


async def _tell(
    connection: AsyncConnection, roster: Roster, step: AlarmStep, now: datetime, public_url: str | None
) -> None:
    """One step, to everybody whom it concerns."""
    if not roster.plans:
        return
    before = await told_before(connection, step.tenant_id, step.alarm_id)
    names = recipients(roster, step.document, before, now)
    if not names:
        return
    recent, digesting = await last_minute(connection, step.tenant_id, names, now)
    browsers = await browsers_of(connection, step.tenant_id, names)
    deliveries: list[NewDelivery] = []
    document = await _informed(connection, step, public_url)
    facts = {"step": document, "sequence": step.alarm_step_id}
    for name in names:
        contact = roster.contacts[name]
        held_for, due_at = _hold(contact, step, recent.get(name, 0), name in digesting, now)
        words = words_of(document, contact.language, ZoneInfo(contact.time_zone))
        ways = ways_of(contact, browsers.get(name, ()))
        if not ways:
            await add_failed_notice(connection, _notice_of(step, contact, None), _NO_WAY, now)
        for way in ways:
            notice = replace(_notice_of(step, contact, way), held_for=held_for, due_at=due_at)
            number = await _add(connection, notice, now)
            if due_at is None:
                body = payload(way, words, facts, step.document["incidentId"], number)
                deliveries.append(_delivery(notice, way, number, body))
    await insert_deliveries(connection, deliveries)


async def _informed(connection: AsyncConnection, step: AlarmStep, public_url: str | None) -> dict[str, Any]:
    """The step with where the level is going and where to answer (:mod:`broker.contacts.outlook`)."""
    document = step.document
    page = "" if public_url is None else await _page(connection, step.tenant_id, public_url)
    if step.kind not in _OF_A_LEVEL or document.get("value") is None or document.get("bySilence"):
        return {**document, "page": page}
    found = await change_of(connection, step.tenant_id, document)
    factor = None if found is None else in_unit(1.0, found.unit or document["unitCode"], document["unitCode"])
    # What another dataset of the attribute, or a correction, says is not what the step is about.
    if found is None or factor is None or found.unit != found.unit_before:
        return {**document, "page": page}
    if abs(found.value * factor - document["value"]) > _SAME:
        return {**document, "page": page}
    change = round((found.value - found.before) * factor, 6)
    return {**document, "page": page, "trend": {"change": change, "seconds": found.seconds}}


async def _page(connection: AsyncConnection, tenant_id: int, public_url: str) -> str:
    name = await tenant_name(connection, tenant_id)
    query = "" if name == DEFAULT_TENANT else f"?{urlencode({'tenant': name})}"
    return f"{public_url.rstrip('/')}/alarms{query}"


def ways_of(contact: Contact, browsers: Sequence[EnrolledBrowser]) -> list[Way]:
    """All ways to ``contact``: what is written down, and the browsers that it enrolled."""
    return [*contact.channels, *(enrolled.browser for enrolled in browsers)]


def _notice_of(step: AlarmStep, contact: Contact, way: Way | None) -> NewNotice:
    return NewNotice(
        tenant_id=step.tenant_id,
        contact_id=contact.id,
        channel=way.type if way else "none",
        address=way.shown if way else "",
        kind=step.kind,
        order_key=_order_key(step.tenant_id, contact.id, way),
        alarm_id=step.alarm_id,
        alarm_step_id=step.alarm_step_id,
    )


async def _add(connection: AsyncConnection, notice: NewNotice, now: datetime) -> int:
    NOTICES.labels(notice.channel, notice.held_for or "sent").inc()
    return await add_notice(connection, notice, now)


def _hold(
    contact: Contact, step: AlarmStep, recent: int, digesting: bool, now: datetime
) -> tuple[HeldFor | None, datetime | None]:
    """Why and until when a message waits; it goes at once when it is about one of the highest levels."""
    stage = step.document["stage"]
    if is_urgent(stage):
        return None, None
    if (until := contact.quiet_until(stage, now)) is not None:
        return "quiet", until
    if digesting or recent >= contact.digest_above:
        return "digest", now + _MINUTE
    return None, None


async def _tell_held(connection: AsyncConnection, rosters: dict[int, Roster], now: datetime) -> None:
    """What was held and is due: one message for each channel of each contact."""
    for order_key, group in groupby(await due_notices(connection, now), key=lambda held: held.order_key):
        notices = list(group)
        first = notices[0]
        roster = await _roster(connection, rosters, first.tenant_id)
        contact = roster.contacts.get(first.contact_id)
        channel = await _way_of(connection, first.tenant_id, contact, order_key)
        if contact is None or channel is None:  # gone meanwhile: nobody to tell
            await merge(connection, [held.notice_id for held in notices], first.notice_id, now)
            continue
        steps = [held.document for held in notices]
        words = words_of_many(steps, contact.language, ZoneInfo(contact.time_zone))
        notice = NewNotice(first.tenant_id, contact.id, channel.type, channel.shown, "digest", order_key)
        number = await _add(connection, notice, now)
        await merge(connection, [held.notice_id for held in notices], number, now)
        body = payload(channel, words, {"steps": steps}, None, number)
        await insert_deliveries(connection, [_delivery(notice, channel, number, body)])


async def _way_of(connection: AsyncConnection, tenant_id: int, contact: Contact | None, order_key: str) -> Way | None:
    """The way that a stream is of, if the contact still has it."""
    if contact is None:
        return None
    key = order_key.rpartition(":")[2]
    if key.isdigit() and int(key) < len(contact.channels):  # of before, when places were counted
        return contact.channels[int(key)]
    browsers = (await browsers_of(connection, tenant_id, [contact.id])).get(contact.id, ())
    return next((way for way in ways_of(contact, browsers) if way.key == key), None)


def _order_key(tenant_id: int, contact_id: str, way: Way | None) -> str:
    return f"contact:{tenant_id}:{contact_id}:{way.key if way else 'none'}"


async def _forget_browsers(connection: AsyncConnection, now: datetime) -> None:
    """What push services say is gone is enrolled no more, and the audit says so."""
    for tenant_id, contact_id, browser_id, reason in await end_gone(connection):
        await add_entry(
            connection,
            tenant_id,
            _HUB,
            "browser.end",
            contact_id,
            now,
            reason=reason,
            details={"browserId": browser_id},
        )


def _delivery(notice: NewNotice, channel: Way, number: int, body: bytes) -> NewDelivery:
    return NewDelivery(
        tenant_id=notice.tenant_id,
        kind="contact",
        priority=Priority.ALERT,
        order_key=notice.order_key,
        destination=channel.destination,
        sequence=number,
        body=body,
        headers={"Content-Type": "application/json", "Minamo-Sequence": str(number)},
        sending=_sending(channel),
    )


def _sending(channel: Way) -> Sending | None:
    secret = channel.stored_secret
    if secret is None:
        return None
    return Sending(password=secret) if channel.type == "mqtt" else Sending(secret=secret)


async def send_test(connection: AsyncConnection, tenant_id: int, contact: Contact, now: datetime) -> list[int]:
    """A test message by every channel of a contact; returns the numbers of the notices."""
    words, numbers, deliveries = test_words(contact.name, contact.language), [], []
    browsers = (await browsers_of(connection, tenant_id, [contact.id])).get(contact.id, ())
    for channel in ways_of(contact, browsers):
        order_key = _order_key(tenant_id, contact.id, channel)
        notice = NewNotice(tenant_id, contact.id, channel.type, channel.shown, "test", order_key)
        numbers.append(await add_notice(connection, notice, now))
        body = payload(channel, words, {"test": True}, None, numbers[-1])
        deliveries.append(_delivery(notice, channel, numbers[-1], body))
    await insert_deliveries(connection, deliveries)
    return numbers
