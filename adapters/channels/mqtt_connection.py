# SPDX-License-Identifier: Apache-2.0
"""One connection to an MQTT broker that is only published to, driven by the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import select
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from adapters.web.trust import trust_also

_KEEPALIVE_S: Final = 30
_MISC_S: Final = 1.0  # how often a connection looks after keep-alive and its own idleness
_PACKETS_AT_ONCE: Final = 100
_UNDER_WAY: Final = 20  # messages of a connection without an acknowledgement; the broker may allow fewer


class MqttFailure(Exception):
    """The broker did not take a message, or could not be reached.

    ``code`` is the reason code of a refusal (MQTT 5, from 128); None when there was no answer.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class ConnectionKey:
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


class MqttConnection:
    """One connection to a broker, driven by the event loop; a lost one is not used again."""

    def __init__(self, key: ConnectionKey, ca_file: Path | None) -> None:
        self.used_at = time.monotonic()
        self.heard_at = self.used_at
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._room = asyncio.Semaphore(_UNDER_WAY)
        self._socket: Any = None
        self._client = self._make_client(key, ca_file)

    def _make_client(self, key: ConnectionKey, ca_file: Path | None) -> mqtt.Client:
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
