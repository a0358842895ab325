# SPDX-License-Identifier: Apache-2.0
"""Sending deliveries by MQTT, 3.1.1 and 5, QoS 0 to 2 (clause 7 of ETSI GS CIM 009 V1.9.1).

A message is ``{"metadata": {"Content-Type": ..., ...}, "body": notification}``. Connections are kept and shared by all
that goes to one broker as one user. A delivery is made when the broker has acknowledged it (PUBACK, PUBCOMP); with
QoS 0 nobody does, and it is made when it was given to the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import select
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from adapters.channels.signing import signature_headers
from adapters.channels.webhook import MAX_ANSWER_CHARACTERS, SendResult
from adapters.web.guard import AddressGuard, ForbiddenDestination
from adapters.web.trust import trust_also

SCHEMES: Final = frozenset({"mqtt", "mqtts"})
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_MAX_TOPIC_BYTES: Final = 65_535
_KEEPALIVE_S: Final = 30
_MISC_S: Final = 1.0  # how often a connection looks after keep-alive and its own idleness
_SUCCESS: Final = 0  # the reason code
_PACKETS_AT_ONCE: Final = 100
_UNDER_WAY: Final = 20  # messages of a connection without an acknowledgement; the broker may allow fewer


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


class MqttFailure(Exception):
    """The broker did not take a message, or could not be reached.

    ``code`` is the reason code of a refusal (MQTT 5, from 128); None when there was no answer.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Key:
    """What connections are shared by."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    version_5: bool


class _Context(ssl.SSLContext):
    """Checks the certificate for the name of the broker, although the connection goes to a numeric address."""

    name: str

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As that of the base class, for :attr:`name`. It shakes hands at once, and closes the socket if that fails."""
        mine = {"server_hostname": self.name, "do_handshake_on_connect": True}
        return super().wrap_socket(*arguments, **{**options, **mine})


def _tls_for(name: str, ca_file: Path | None) -> ssl.SSLContext:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.name = name
    return trust_also(context, ca_file)


class _Connection:
    """One connection to a broker, driven by the event loop; a lost one is not used again."""

    def __init__(self, key: _Key, ca_file: Path | None) -> None:
        self.used_at = time.monotonic()
        self.heard_at = self.used_at
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._room = asyncio.Semaphore(_UNDER_WAY)
        self._socket: Any = None
        self._client = self._make_client(key, ca_file)

    def _make_client(self, key: _Key, ca_file: Path | None) -> mqtt.Client:
        protocol = mqtt.MQTTv5 if key.version_5 else mqtt.MQTTv311
        client_id = f"minamo-{secrets.token_hex(8)}"  # 23 characters, which every broker has to take
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol)
        if key.username is not None:
            client.username_pw_set(key.username, key.password)
        if key.tls:
            client.tls_set_context(_tls_for(key.host, ca_file))
        client.on_connect = self._on_connect
        client.on_disconnect = lambda *_: self.close("the connection was closed")
        client.on_publish = self._on_publish
        client.on_socket_close = lambda *_: self._detach()
        client.on_socket_register_write = lambda *_: self._watch_writing()
        return client

    @property
    def busy(self) -> bool:
        """Whether a message is under way."""
        return bool(self._waiting) or not self._ready.done()

    async def open(self, address: str, port: int, timeout_s: float) -> None:
        """Connect to the numeric ``address``; raises :class:`MqttFailure` and :class:`OSError`."""
        self._client.connect_timeout = timeout_s
        await asyncio.to_thread(self._connect, address, port)
        self._socket = self._client.socket()
        if self._socket is None:
            raise MqttFailure("the connection was closed")
        self._loop.add_reader(self._socket, self._read)
        self._loop.call_later(_MISC_S, self._look_after)
        self._watch_writing()
        await self._ready

    def _connect(self, address: str, port: int) -> None:
        """The part that blocks, in a thread; whoever asked for it may have given up meanwhile."""
        self._client.connect(address, port, _KEEPALIVE_S)
        opened = self._client.socket()
        if self.lost and opened is not None:
            opened.close()

    async def publish(self, topic: str, payload: bytes, qos: int, properties: Properties | None) -> None:
        """Return when the broker has taken the message; raises :class:`MqttFailure`."""
        async with self._room:
            if self.lost:
                raise MqttFailure("the connection was lost")
            info = self._client.publish(topic, payload, qos=qos, properties=properties)
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise MqttFailure(mqtt.error_string(info.rc))
            if not info.is_published():  # as QoS 0 is when it went out at once
                await self._acknowledged(info.mid)
        self.used_at = time.monotonic()

    async def _acknowledged(self, mid: int) -> None:
        self._waiting[mid] = taken = self._loop.create_future()
        self._watch_writing()
        began = time.monotonic()
        try:
            await taken
        except asyncio.CancelledError:
            if self.heard_at < began:  # not a word since: it may be dead, and the next attempt takes a new one
                self.close("the broker says nothing any more")
            raise
        finally:
            del self._waiting[mid]

    def close(self, reason: str) -> None:
        """Let go of the broker; what was not acknowledged has failed."""
        if self.lost:
            return
        self.lost = True
        if (open_socket := self._detach()) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._client.disconnect()
                open_socket.close()
        for future in [self._ready, *self._waiting.values()]:
            if not future.done():
                future.set_exception(MqttFailure(reason))
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()  # perhaps nobody waits for it any more

    def _detach(self) -> Any:
        """The socket, if it is open, of which the event loop hears no more: another one may get its number."""
        attached, self._socket = self._socket, None
        if attached is not None:
            self._loop.remove_reader(attached)
            self._loop.remove_writer(attached)
        return attached

    def _read(self) -> None:
        """Read until nothing is left: uvloop tells once of a connection that was reset, and never again."""
        self.heard_at = time.monotonic()
        for _ in range(_PACKETS_AT_ONCE):
            if self.lost or not _is_readable(self._socket):
                return
            self._survive(self._client.loop_read())

    def _write(self) -> None:
        self._survive(self._client.loop_write())
        if self._socket is not None and not self._client.want_write():
            self._loop.remove_writer(self._socket)

    def _watch_writing(self) -> None:
        if self._socket is not None and self._client.want_write():
            self._loop.add_writer(self._socket, self._write)

    def _look_after(self) -> None:
        if not self.lost:
            self._survive(self._client.loop_misc())
            self._loop.call_later(_MISC_S, self._look_after)

    def _survive(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.close(mqtt.error_string(code))

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if self._ready.done():
            return
        if reason.is_failure:
            self._ready.set_exception(MqttFailure(f"the broker refused the connection: {reason}", reason.value))
        else:
            self._room = asyncio.Semaphore(min(getattr(properties, "ReceiveMaximum", _UNDER_WAY), _UNDER_WAY))
            self._ready.set_result(None)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        taken = self._waiting.get(mid)
        if taken is None or taken.done():
            return
        if reason.is_failure:
            taken.set_exception(MqttFailure(f"the broker refused the message: {reason}", reason.value))
        else:
            taken.set_result(None)


def _is_readable(opened: Any) -> bool:
    """Whether there is something to read, be it the end, in the socket or in its TLS."""
    if opened is None:
        return False
    if isinstance(opened, ssl.SSLSocket) and opened.pending():
        return True
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    return bool(poll.poll(0))


class MqttSender:
    """Publishes deliveries; ``timeout_s`` bounds an attempt as a whole, connections end when unused for ``idle_s``."""

    def __init__(
        self,
        *,
        timeout_s: float,
        allow_private: bool,
        allow_loopback: bool = False,
        connections: int = 64,
        idle_s: float = 60.0,
        ca_file: Path | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._guard = AddressGuard(allow_private, allow_loopback)
        self._limit = connections
        self._idle_s = idle_s
        self._connections: dict[_Key, asyncio.Task[_Connection]] = {}

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

    async def _connection(self, target: MqttTarget, options: MqttOptions) -> _Connection:
        """The connection for ``target``, made when there is none; several that ask at once share one."""
        key = _Key(target.host, target.port, target.tls, target.username, options.password, options.version_5)
        opening = self._connections.get(key)
        if opening is None or (opening.done() and _is_over(opening)):
            self._make_room()
            opening = self._connections[key] = asyncio.create_task(self._open(key))
        return await asyncio.shield(opening)

    async def _open(self, key: _Key) -> _Connection:
        address = await self._guard.resolve(key.host, key.port)
        connection = _Connection(key, self._ca_file)
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

    def _drop(self, key: _Key) -> None:
        opening = self._connections.pop(key)
        if not opening.done():
            opening.cancel()
        elif not opening.cancelled() and opening.exception() is None:
            opening.result().close("it is not needed any more")


def _is_over(opening: asyncio.Task[_Connection]) -> bool:
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
