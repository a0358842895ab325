# SPDX-License-Identifier: Apache-2.0
"""A real SMTP server (aiosmtpd) that keeps what it is given and can refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """What came, and the answer to the next message (None: taken); ``on_data`` is called before it is taken."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.refusal: str | None = None
        self.unknown: set[str] = set()
        self.on_data: Callable[[], object] = lambda: None
        self.goodbye = "221 Bye"
        self.port = 0

    @property
    def url(self) -> str:
        """For the setting ``smtp_url``."""
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        """Refuse mailboxes that are not there."""
        if address in self.unknown:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep the message, or refuse."""
        if self.refusal is not None:
            return self.refusal
        await asyncio.to_thread(self.on_data)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 OK"

    async def handle_QUIT(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802
        """The answer to the end."""
        return self.goodbye


@contextmanager
def running_mail_server() -> Iterator[Mailbox]:
    """A server on a free port of the loopback."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=0)
    # With port 0 the controller cannot find its own server to see whether it runs; it is asked for a free one here.
    from support.folders import free_port

    controller.port = mailbox.port = free_port()
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
