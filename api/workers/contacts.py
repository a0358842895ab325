# SPDX-License-Identifier: Apache-2.0
"""Telling people: steps of alarms become notices and deliveries, each exactly once.

Everything of one turn is one transaction with the cursor, so whatever dies, nobody is forgotten and nobody is put into
the outbox twice. A contact that gets too many messages in a minute gets the rest as one, and so does one that wants to
be left alone for the night; the highest levels wait for nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from api.metrics import NOTICES
from api.workers.repeating import RepeatingWorker
from broker.contacts import (
    Channel,
    Contact,
    Roster,
    is_urgent,
    payload,
    recipients,
    test_words,
    words_of,
    words_of_many,
)
from broker.subscriptions import Sending
from context_store.alarm_reads import AlarmStep, read_steps
from context_store.contacts import load_roster
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries import NewDelivery, Priority, insert_deliveries
from context_store.notices import (
    HeldFor,
    NewNotice,
    add_notice,
    due_notices,
    last_minute,
    merge,
    move_cursor,
    settle,
    take_cursor,
    told_before,
)

_STEPS_AT_ONCE: Final = 100
_MINUTE: Final = timedelta(minutes=1)
_PAUSE_AFTER_ERROR_S: Final = 1.0


class ContactWorker(RepeatingWorker):
    """Tells people until cancelled."""

    def __init__(self, database: Database, *, poll_s: float) -> None:
        super().__init__("contacts", rest_s=poll_s, pause_s=_PAUSE_AFTER_ERROR_S)
        self._database = database

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
                await _tell(connection, roster, step, now)
            if steps:
                await move_cursor(connection, steps[-1].alarm_step_id)
            await _tell_held(connection, rosters, now)
            await settle(connection)
            return bool(steps)


async def _roster(connection: AsyncConnection, known: dict[int, Roster], tenant_id: int) -> Roster:
    if tenant_id not in known:
        known[tenant_id] = await load_roster(connection, tenant_id)
    return known[tenant_id]


async def _tell(connection: AsyncConnection, roster: Roster, step: AlarmStep, now: datetime) -> None:
    """One step, to everybody whom it concerns."""
    if not roster.plans:
        return
    before = await told_before(connection, step.tenant_id, step.alarm_id)
    names = recipients(roster, step.document, before, now)
    if not names:
        return
    recent, digesting = await last_minute(connection, step.tenant_id, names, now)
    deliveries: list[NewDelivery] = []
    facts = {"step": step.document, "sequence": step.alarm_step_id}
    for name in names:
        contact = roster.contacts[name]
        held_for, due_at = _hold(contact, step, recent.get(name, 0), name in digesting, now)
        words = words_of(step.document, contact.language, ZoneInfo(contact.time_zone))
        for place, channel in enumerate(contact.channels):
            notice = NewNotice(
                tenant_id=step.tenant_id,
                contact_id=name,
                channel=channel.type,
                address=channel.shown,
                kind=step.kind,
                order_key=_order_key(step.tenant_id, name, place),
                alarm_id=step.alarm_id,
                alarm_step_id=step.alarm_step_id,
                held_for=held_for,
                due_at=due_at,
            )
            number = await _add(connection, notice, now)
            if due_at is None:
                body = payload(channel, words, facts, step.document["incidentId"], number)
                deliveries.append(_delivery(notice, channel, number, body))
    await insert_deliveries(connection, deliveries)


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
        channel = _channel_of(contact, order_key, first.channel)
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


def _channel_of(contact: Contact | None, order_key: str, kind: str) -> Channel | None:
    """The channel that a stream is of, if it still is of that type."""
    place = int(order_key.rpartition(":")[2])
    if contact is None or place >= len(contact.channels) or contact.channels[place].type != kind:
        return None
    return contact.channels[place]


def _order_key(tenant_id: int, contact_id: str, place: int) -> str:
    return f"contact:{tenant_id}:{contact_id}:{place}"


def _delivery(notice: NewNotice, channel: Channel, number: int, body: bytes) -> NewDelivery:
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


def _sending(channel: Channel) -> Sending | None:
    if channel.secret is None:
        return None
    return Sending(password=channel.secret) if channel.type == "mqtt" else Sending(secret=channel.secret)


async def send_test(connection: AsyncConnection, tenant_id: int, contact: Contact, now: datetime) -> list[int]:
    """A test message by every channel of a contact; returns the numbers of the notices."""
    words, numbers, deliveries = test_words(contact.name, contact.language), [], []
    for place, channel in enumerate(contact.channels):
        order_key = _order_key(tenant_id, contact.id, place)
        notice = NewNotice(tenant_id, contact.id, channel.type, channel.shown, "test", order_key)
        numbers.append(await add_notice(connection, notice, now))
        body = payload(channel, words, {"test": True}, None, numbers[-1])
        deliveries.append(_delivery(notice, channel, numbers[-1], body))
    await insert_deliveries(connection, deliveries)
    return numbers
