# SPDX-License-Identifier: Apache-2.0
"""Sending deliveries by MQTT, 3.1.1 and 5, QoS 0 to 2 (clause 7 of ETSI GS CIM 009 V1.9.1).

A message is ``{"metadata": {"Content-Type": ..., ...}, "body": notification}``. Connections are kept and shared by all
that goes to one broker as one user. A delivery is made when the broker has acknowledged it (PUBACK, PUBCOMP); with
QoS 0 nobody does, and it is made when it was given to the connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from urllib.parse import unquote, urlsplit

import orjson
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.channels.mqtt_connection import ConnectionKey, MqttConnection, MqttFailure
from adapters.channels.signing import signature_headers
from adapters.channels.webhook import MAX_ANSWER_CHARACTERS, SendResult
from adapters.web.guard import ForbiddenDestination, Reach

SCHEMES: Final = frozenset({"mqtt", "mqtts"})
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_MAX_TOPIC_BYTES: Final = 65_535
_SUCCESS: Final = 0  # the reason code


@dataclass(frozen=True, slots=True)
class MqttTarget:
    """Broker, user and topic of an ``mqtt`` or ``mqtts`` URI; ``host`` as it was given."""

    host: str
    port: int
    tls: bool
    username: str | None
    topic: str


def read_target(uri: str) -> MqttTarget:
    """``mqtt[s]://[user@]host[:port]/topic[/subtopic]*``; raises :class:`ForbiddenDestination` for anything else."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as exc:
        raise ForbiddenDestination(f"this is no MQTT URI: {exc}") from exc
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ForbiddenDestination("this is no absolute mqtt or mqtts URI")
    if "?" in uri or "#" in uri:
        raise ForbiddenDestination("an MQTT URI has neither a query nor a fragment")
    topic = unquote(parts.path.removeprefix("/"))
    if not topic or any(character in topic for character in "+#\0") or topic.startswith("$"):
        raise ForbiddenDestination(
            "the path of an MQTT URI is the topic: not empty, without + and #, not beginning with $"
        )
    if len(topic.encode()) > _MAX_TOPIC_BYTES:
        raise ForbiddenDestination("the topic is too long")
    username = None if parts.username is None else unquote(parts.username)
    return MqttTarget(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts", username, topic)


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """How to publish: the password of the URI's user, quality of service, protocol, when to give up.

    ``secret`` signs the message as a whole; the signature is in user properties, so it needs MQTT 5.
    """

    password: str | None = None
    qos: int = 1
    version_5: bool = True
    timeout_s: float | None = None
    secret: str | None = None


class MqttSender:
    """Publishes deliveries; ``timeout_s`` bounds an attempt as a whole, connections end when unused for ``idle_s``."""

    def __init__(
        self,
        *,
        timeout_s: float,
        reach: Reach,
        connections: int = 64,
        idle_s: float = 60.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._ca_file = reach.ca_file
        self._guard = reach.guard
        self._limit = connections
        self._idle_s = idle_s
        self._connections: dict[ConnectionKey, asyncio.Task[MqttConnection]] = {}

    async def __aenter__(self) -> MqttSender:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        openings = list(self._connections.values())
        for key in list(self._connections):
            self._drop(key)
        await asyncio.gather(*openings, return_exceptions=True)

    async def send(
        self, uri: str, body: bytes, headers: Mapping[str, str], options: MqttOptions | None = None
    ) -> SendResult:
        """One attempt; never raises for what the broker or the network does. Results do not name the password."""
        options = options or MqttOptions()
        timeout_s = min(self._timeout_s, options.timeout_s or self._timeout_s)
        try:
            target = read_target(uri)
            async with asyncio.timeout(timeout_s):
                connection = await self._connection(target, options)
                payload = mqtt_payload(body, headers)
                properties = _properties(headers, payload, options.secret) if options.version_5 else None
                await connection.publish(target.topic, payload, options.qos, properties)
        except ForbiddenDestination as exc:
            return SendResult(False, None, str(exc))
        except TimeoutError:
            return SendResult(False, None, f"no acknowledgement within {timeout_s:g} s")
        except (MqttFailure, OSError, ValueError) as exc:
            code = exc.code if isinstance(exc, MqttFailure) else None
            return SendResult(False, code, f"MQTT: {exc}"[:MAX_ANSWER_CHARACTERS])
        return SendResult(True, _SUCCESS)

    async def _connection(self, target: MqttTarget, options: MqttOptions) -> MqttConnection:
        """The connection for ``target``, made when there is none; several that ask at once share one."""
        key = ConnectionKey(target.host, target.port, target.tls, target.username, options.password, options.version_5)
        opening = self._connections.get(key)
        if opening is None or (opening.done() and _is_over(opening)):
            self._make_room()
            opening = self._connections[key] = asyncio.create_task(self._open(key))
        return await asyncio.shield(opening)

    async def _open(self, key: ConnectionKey) -> MqttConnection:
        address = await self._guard.resolve(key.host, key.port)
        connection = MqttConnection(key, self._ca_file)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.open(address, key.port, self._timeout_s)
        except BaseException:
            connection.close("it could not be opened")
            raise
        return connection

    def _make_room(self) -> None:
        """Close what is lost or has not been used for long and, when that is not enough, what was not used longest."""
        unused_since = time.monotonic() - self._idle_s
        idle = []
        for key, opening in list(self._connections.items()):
            if not opening.done():
                continue
            if _is_over(opening):
                self._drop(key)
            elif not opening.result().busy:
                idle.append((opening.result().used_at, key))
        for used_at, key in sorted(idle, key=lambda item: item[0]):
            if used_at < unused_since or len(self._connections) >= self._limit:
                self._drop(key)

    def _drop(self, key: ConnectionKey) -> None:
        opening = self._connections.pop(key)
        if not opening.done():
            opening.cancel()
        elif not opening.cancelled() and opening.exception() is None:
            opening.result().close("it is not needed any more")


def _is_over(opening: asyncio.Task[MqttConnection]) -> bool:
    return opening.cancelled() or opening.exception() is not None or opening.result().lost


def mqtt_payload(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The message of a notification (clause 7.2): what would be headers beside what would be the body."""
    return orjson.dumps({"metadata": dict(headers), "body": orjson.Fragment(body)})


def _properties(headers: Mapping[str, str], payload: bytes, secret: str | None) -> Properties:
    """The metadata once more, for those who route messages without reading them, and the signature."""
    signature = {}
    if secret is not None:
        signature = signature_headers(secret, headers["Minamo-Delivery-Id"], int(time.time()), payload)
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    properties.PayloadFormatIndicator = 1
    properties.UserProperty = [*headers.items(), *signature.items()]
    return properties
