# SPDX-License-Identifier: Apache-2.0
"""CAP messages as an Atom feed (RFC 4287), newest first, with pages (RFC 5005). Entries link to their messages, or have
them within.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from adapters.cap.messages import (
    CAP_XML,
    CapEvent,
    CapMessage,
    Status,
    add,
    headline,
    marked,
    message_element,
    xml_bytes,
)
from adapters.cap.words import MARKS
from broker.times import to_text

ATOM_XML: Final = "application/atom+xml"
NAMESPACE: Final = "http://www.w3.org/2005/Atom"
EMPTY_SINCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a feed without entries was changed last."""


def message_path(event: CapEvent) -> str:
    """Where the message of ``event`` is on the hub."""
    return f"/api/v1/alerts/{quote(event.alert_id, safe='')}/cap/{event.sequence}"


def write_feed(
    events: Sequence[CapEvent],
    status: Status,
    *,
    base_url: str,
    feed_url: str,
    self_url: str,
    next_url: str | None,
    messages: Mapping[int, CapMessage] | None = None,
) -> bytes:
    """A page of the feed of ``status``. ``feed_url`` is its first page and its id, ``base_url`` the hub.

    ``messages`` by the number of their event are written into the entries.
    """
    feed = Element("feed", {"xmlns": NAMESPACE, "xml:lang": "ja"})
    add(feed, "id", feed_url)
    add(feed, "title", f"{MARKS[status]['ja']}河川水位のアラート / {MARKS[status]['en']}River level alerts")
    add(feed, "updated", to_text(events[0].recorded_at if events else EMPTY_SINCE))
    _link(feed, "self", self_url, ATOM_XML)
    if next_url:
        _link(feed, "next", next_url, ATOM_XML)
    for event in events:
        _add_entry(feed, event, base_url, (messages or {}).get(event.sequence))
    return xml_bytes(feed)


def _add_entry(feed: Element, event: CapEvent, base_url: str, message: CapMessage | None) -> None:
    marks = MARKS[event.document["cap"]["status"]]
    entry = SubElement(feed, "entry")
    add(entry, "id", event.identifier)
    add(entry, "title", headline(event, "ja"))
    add(entry, "updated", to_text(event.recorded_at))
    profile = event.profile
    add(SubElement(entry, "author"), "name", profile.sender_name or profile.sender)
    _link(entry, "alternate", base_url + message_path(event), CAP_XML)
    japanese = marked(marks["ja"], event.document["descriptionJa"])
    add(entry, "summary", f"{japanese}\n{marked(marks['en'], event.document['descriptionEn'])}")
    if message is not None:
        SubElement(entry, "content", {"type": CAP_XML}).append(message_element(message))


def _link(parent: Element, relation: str, url: str, media_type: str) -> None:
    SubElement(parent, "link", {"rel": relation, "type": media_type, "href": url})
