# SPDX-License-Identifier: Apache-2.0
"""The ways out, by the scheme of the destination: HTTP and MQTT, signed where the receiver wants it, and services."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from adapters.channels.mqtt import SCHEMES, MqttOptions, MqttSender, read_target
from adapters.channels.services import SCHEMES as SERVICE_SCHEMES
from adapters.channels.services import ServiceOptions, Services
from adapters.channels.signing import signature_headers
from adapters.channels.webhook import HttpSender, SendResult
from adapters.web.guard import Reach, check_url
from broker.sealed import plain
from broker.subscriptions.sending import Sending

ID_HEADER: Final = "Minamo-Delivery-Id"  # the same in every attempt, so that a receiver can drop repeats
REPEAT_HEADER: Final = "Minamo-Repeat"  # there when a message to a person may have been taken before
_PLAIN: Final = Sending()


def check_destination(uri: str) -> None:
    """Raise :class:`ForbiddenDestination` unless ``uri`` is one that :class:`Senders` can send to."""
    if urlsplit(uri).scheme in SCHEMES:
        read_target(uri)
    else:
        check_url(uri)


class Senders:
    """Makes one attempt at a delivery, by whatever its destination speaks.

    ``timeout_s`` bounds it; at most ``connections`` are kept by each of both ways; ``services`` are those
    that reach people.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        reach: Reach,
        connections: int = 64,
        services: ServiceOptions | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._http = HttpSender(timeout_s=timeout_s, reach=reach, connections=connections)
        self._services = Services(
            services or ServiceOptions(), timeout_s=timeout_s, ca_file=reach.ca_file, outside=self._http
        )
        self._mqtt = MqttSender(timeout_s=timeout_s, reach=reach, connections=connections)
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Senders:
        await self._opened.enter_async_context(self._http)
        await self._opened.enter_async_context(self._mqtt)
        await self._opened.enter_async_context(self._services)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    async def send(
        self, destination: str, body: bytes, headers: dict[str, str], sending: Sending = _PLAIN
    ) -> SendResult:
        """One attempt; never raises for what the receiver or the network does."""
        timeout_s = None if sending.timeout_ms is None else min(sending.timeout_ms / 1000, self._timeout_s)
        scheme = urlsplit(destination).scheme
        if scheme in SERVICE_SCHEMES:
            return await self._services.send(destination, body, headers[ID_HEADER], repeat=REPEAT_HEADER in headers)
        if scheme in SCHEMES:
            options = MqttOptions(
                password=None if sending.password is None else plain(sending.password),
                qos=sending.qos,
                version_5=sending.mqtt_version == "mqtt5.0",
                timeout_s=timeout_s,
                secret=None if sending.secret is None else plain(sending.secret),
            )
            return await self._mqtt.send(destination, body, headers, options)
        if sending.secret is not None:
            headers = headers | signature_headers(plain(sending.secret), headers[ID_HEADER], int(time.time()), body)
        return await self._http.send(destination, body, headers, timeout_s)
