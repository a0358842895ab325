# SPDX-License-Identifier: Apache-2.0
"""E-mail by SMTP (RFC 5321, 5322): plain text, and all messages about an incident in one thread.

The body of a delivery is ``{"to", "subject", "text", "thread", "number"}``. Each body has a Message-ID of its own, the
same in every attempt, so that a mailbox that got a message twice can show it once; a person sees its number. SMTP knows
no way to hand a message in exactly once (RFC 5321, 4.5.3.2.6 speaks of it): who dies between the server's yes and
writing it down sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from adapters.channels.webhook import MAX_ANSWER_CHARACTERS, SendResult
from adapters.web.trust import trust_also

_PORTS: Final = {"smtp": 587, "smtps": 465}
_NUMBER: Final = "お知らせ番号 / Notice no. {}"
_REPEAT: Final = (
    "同じ番号のお知らせが、すでに届いているかもしれません。\n"
    "You may have had this message before: then it had the same number.\n"
)
_PERMANENT: Final = range(550, 555)  # no such mailbox, not allowed: trying again cannot help


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in: ``smtp://`` (STARTTLS when the server has it) or ``smtps://`` with user and password."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    sender: str

    @classmethod
    def of_url(cls, url: str, sender: str) -> MailServer:
        """``smtp[s]://[user:password@]host[:port]``; raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("an SMTP URL is smtp://host, smtps://host, with user:password@ where needed")
        if "@" not in sender:
            raise ValueError("mail needs the address it comes from")
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        port = parts.port or _PORTS[parts.scheme]
        return cls(parts.hostname, port, parts.scheme == "smtps", user, password, sender)


class MailSender:
    """Hands messages in; ``timeout_s`` bounds each answer of the server."""

    def __init__(self, server: MailServer, *, timeout_s: float, ca_file: Path | None = None) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._context = trust_also(ssl.create_default_context(), ca_file)

    async def send(self, body: bytes, *, repeat: bool = False) -> SendResult:
        """One attempt; never raises for what the server does. ``repeat``: it may have been taken before."""
        message = compose(body, self._server.sender, datetime.now(UTC), repeat=repeat)
        try:
            await asyncio.to_thread(self._hand_in, message)
        except smtplib.SMTPResponseException as exc:
            text = exc.smtp_error.decode("utf-8", "replace") if isinstance(exc.smtp_error, bytes) else exc.smtp_error
            return _refused(exc.smtp_code, text)
        except smtplib.SMTPRecipientsRefused as exc:
            code, answer = next(iter(exc.recipients.values()))
            return _refused(code, answer.decode("utf-8", "replace"))
        except (smtplib.SMTPException, OSError, ValueError) as exc:
            return SendResult(False, None, f"SMTP: {type(exc).__name__}: {exc}"[:MAX_ANSWER_CHARACTERS])
        return SendResult(True, 250)

    def _hand_in(self, message: EmailMessage) -> None:
        smtp = self._connected()
        try:
            if self._server.username is not None:
                smtp.login(self._server.username, self._server.password or "")
            smtp.send_message(message)
        finally:
            # The answer to the message is what counts: it was taken, whatever the server says to the goodbye.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                smtp.quit()
            smtp.close()

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.tls:
            return smtplib.SMTP_SSL(server.host, server.port, timeout=self._timeout_s, context=self._context)
        smtp = smtplib.SMTP(server.host, server.port, timeout=self._timeout_s)
        try:
            smtp.ehlo()
            if smtp.has_extn("starttls"):
                smtp.starttls(context=self._context)
            elif server.username is not None:
                raise smtplib.SMTPNotSupportedError("the server has no STARTTLS: the password is not sent in the clear")
        except BaseException:
            smtp.close()
            raise
        return smtp


def compose(body: bytes, sender: str, now: datetime, *, repeat: bool = False) -> EmailMessage:
    """The message of a delivery's body; ``repeat``: it may have been taken before, and says so."""
    document: dict[str, Any] = orjson.loads(body)
    domain = sender.rpartition("@")[2].strip("> ")
    message = EmailMessage()
    message["From"] = sender
    message["To"] = document["to"]
    message["Subject"] = " ".join(document["subject"].split())
    message["Date"] = format_datetime(now)
    # Numbers begin anew with a new database, of which mailboxes and their servers know nothing.
    message["Message-ID"] = f"<minamo.{document['number']}.{hashlib.sha256(body).hexdigest()[:20]}@{domain}>"
    if document.get("thread"):
        root = f"<incident.{document['thread']}@{domain}>"
        message["In-Reply-To"] = root
        message["References"] = root
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers, please
    if repeat:
        message["Minamo-Repeat"] = "possible"
    message.set_content(f"{document['text']}\n\n-- \n{_NUMBER.format(document['number'])}\n{_REPEAT if repeat else ''}")
    return message


def _refused(code: int, text: str) -> SendResult:
    return SendResult(False, code, f"SMTP {code}: {text}"[:MAX_ANSWER_CHARACTERS], final=code in _PERMANENT)
