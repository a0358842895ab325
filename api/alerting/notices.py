# SPDX-License-Identifier: Apache-2.0
"""Notices as JSON: who was told what, and what became of it."""

from __future__ import annotations

from typing import Any

from broker.times import to_text, to_text_or_none
from context_store.contacts.notices import Notice


def notice_document(notice: Notice) -> dict[str, Any]:
    """A notice as JSON."""
    return {
        "number": notice.notice_id,
        "contactId": notice.contact_id,
        "channel": notice.channel,
        "address": notice.address,
        "kind": notice.kind,
        "alarmId": notice.alarm_id,
        "step": notice.alarm_step_id,
        "state": notice.state,
        "heldFor": notice.held_for,
        "dueAt": to_text_or_none(notice.due_at),
        "mergedInto": notice.merged_into,
        "createdAt": to_text(notice.created_at),
        "finishedAt": to_text_or_none(notice.finished_at),
        "attempts": notice.attempts,
        "error": notice.error,
    }
