# SPDX-License-Identifier: Apache-2.0
"""How notifications are written on the wire of a stream. Pure."""

from __future__ import annotations

from typing import Final

import orjson

from api.streams.readers import Page
from context_store.subscriptions.notifications import Missing, Notification

SSE_HEARTBEAT: Final = b": keep-alive\n\n"
WEBSOCKET_HEARTBEAT: Final = '{"type":"heartbeat"}'


def sse_opening(sequence: int) -> bytes:
    """The beginning of an event stream that goes on behind number ``sequence``.

    It is an event with an id of its own: a client that loses the connection before anything came resumes there.
    """
    return b"retry: 2000\nid: %d\nevent: open\ndata: %s\n\n" % (sequence, orjson.dumps({"sequence": sequence}))


def sse_frames(page: Page) -> bytes:
    """The events of a page; a heartbeat for an empty one."""
    return b"".join(map(_sse_frame, page)) or SSE_HEARTBEAT


def _sse_frame(item: Notification | Missing) -> bytes:
    if isinstance(item, Missing):
        return b"id: %d\nevent: gap\ndata: %s\n\n" % (item.last, orjson.dumps(_gap(item)))
    return b"id: %d\nevent: notification\ndata: %s\n\n" % (item.sequence, item.body.replace(b"\n", b" "))


def websocket_opening(sequence: int) -> str:
    """The first message, which says behind which number the stream goes on."""
    return orjson.dumps({"type": "open", "sequence": sequence}).decode()


def websocket_messages(page: Page) -> list[str]:
    """The messages of a page; a heartbeat for an empty one."""
    return [_message(item) for item in page] or [WEBSOCKET_HEARTBEAT]


def _message(item: Notification | Missing) -> str:
    if isinstance(item, Missing):
        return orjson.dumps({"type": "gap", **_gap(item)}).decode()
    document = {"type": "notification", "sequence": item.sequence, "notification": orjson.Fragment(item.body)}
    return orjson.dumps(document).decode()


def _gap(item: Missing) -> dict[str, int]:
    return {"from": item.first, "to": item.last}
