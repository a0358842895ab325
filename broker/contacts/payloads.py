# SPDX-License-Identifier: Apache-2.0
"""What each channel is given: the body of a delivery, made of words and facts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from broker.contacts.browsers import Browser, push_payload
from broker.contacts.people import Channel
from broker.contacts.words import Words

Way = Channel | Browser
"""One way to a contact: a channel that somebody wrote down, or a browser that the contact enrolled."""

_LINE_CHARACTERS: Final = 5000
_SMS_CHARACTERS: Final = 660  # ten parts of a message in UCS-2


def payload(channel: Way, words: Words, facts: Mapping[str, Any], incident: str | None, number: int) -> bytes:
    """The body for ``channel``; ``number`` is that of the notice, ``facts`` are for machines."""
    if isinstance(channel, Browser):
        return push_payload(channel, words, facts, number)
    whole = f"{words.subject}\n{words.text}"
    match channel.type:
        case "mail":
            return orjson.dumps(
                {
                    "to": channel.address,
                    "subject": words.subject,
                    "text": words.text,
                    "thread": thread(incident) if incident else None,
                    "number": number,
                }
            )
        case "line":
            return orjson.dumps(
                {"to": channel.address, "messages": [{"type": "text", "text": whole[:_LINE_CHARACTERS]}]}
            )
        case "sms":
            return orjson.dumps({"to": channel.address, "text": whole[:_SMS_CHARACTERS]})
        case "slack":
            return orjson.dumps({"text": _slack_text(whole)})
        case "teams":
            return orjson.dumps(_teams_card(words))
        case "webhook" | "mqtt":
            return orjson.dumps({"number": number, "subject": words.subject, "text": words.text, **facts})


def thread(incident: str) -> str:
    """The same for all messages about an incident: what mail programs show them together by."""
    return hashlib.sha256(incident.encode()).hexdigest()[:24]


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams_card(words: Words) -> dict[str, Any]:
    blocks = [{"type": "TextBlock", "text": words.subject, "weight": "Bolder", "wrap": True}]
    blocks += [{"type": "TextBlock", "text": line, "wrap": True} for line in words.text.splitlines()]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }
