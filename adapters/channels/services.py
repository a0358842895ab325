# SPDX-License-Identifier: Apache-2.0
"""The services that reach people, as the operator has set them up: mail server, LINE channel, SMS gateway, Web Push.

Their addresses are the operator's, not a user's, so that they may be within the city's own network. Only push services
are whatever a browser says, and are guarded like webhooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from adapters.channels.line import API_URL, LineSender
from adapters.channels.mail import MailSender, MailServer
from adapters.channels.sms import DEFAULT_TEMPLATE, SmsSender
from adapters.channels.web_push import SCHEMES as PUSH_SCHEMES
from adapters.channels.web_push import WebPushOptions, WebPushSender
from adapters.channels.webhook import HttpSender, SendResult
from adapters.web.guard import Reach

SCHEMES: Final = frozenset({"mailto", "line", "sms"}) | PUSH_SCHEMES
_MISSING: Final = {
    "mailto": "no mail server is set up (MINAMO_SMTP_URL, MINAMO_SMTP_FROM)",
    "line": "no LINE channel is set up (MINAMO_LINE_CHANNEL_TOKEN)",
    "sms": "no SMS gateway is set up (MINAMO_SMS_GATEWAY_URL)",
    **dict.fromkeys(PUSH_SCHEMES, "Web Push has no key"),
}


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What is set up; None: is not. Raises ValueError when it cannot be used."""

    smtp_url: str | None = None
    smtp_from: str = ""
    line_token: str | None = None
    line_url: str = API_URL
    sms_url: str | None = None
    sms_token: str | None = None
    sms_template: str = DEFAULT_TEMPLATE
    web_push: WebPushOptions | None = None


class Services:
    """Makes one attempt at a delivery to ``mailto:``, ``line:``, ``sms:`` or ``push+https:``.

    ``outside`` posts to where users say.
    """

    def __init__(
        self,
        options: ServiceOptions,
        *,
        timeout_s: float,
        ca_file: Path | None = None,
        outside: HttpSender | None = None,
    ) -> None:
        everywhere = Reach(allow_private=True, allow_loopback=True, ca_file=ca_file)
        self._http = HttpSender(timeout_s=timeout_s, reach=everywhere)
        self._mail = self._line = self._sms = self._push = None
        if options.smtp_url:
            server = MailServer.of_url(options.smtp_url, options.smtp_from)
            self._mail = MailSender(server, timeout_s=timeout_s, ca_file=ca_file)
        if options.line_token:
            self._line = LineSender(self._http, options.line_token, options.line_url)
        if options.sms_url:
            self._sms = SmsSender(self._http, options.sms_url, options.sms_token, options.sms_template)
        if options.web_push and outside:
            self._push = WebPushSender(outside, options.web_push)

    async def __aenter__(self) -> Services:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def send(self, destination: str, body: bytes, delivery_id: str, *, repeat: bool = False) -> SendResult:
        """One attempt; never raises for what the service does. ``repeat``: it may have been taken before."""
        scheme = destination.partition(":")[0]
        if scheme in PUSH_SCHEMES and self._push is not None:
            return await self._push.send(destination, body)
        if scheme == "mailto" and self._mail is not None:
            return await self._mail.send(body, repeat=repeat)
        if scheme == "line" and self._line is not None:
            return await self._line.send(body, delivery_id)
        if scheme == "sms" and self._sms is not None:
            return await self._sms.send(body)
        return SendResult(False, None, _MISSING[scheme])
