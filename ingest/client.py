# SPDX-License-Identifier: Apache-2.0
"""The MQTT client: paho driven by the event loop, MQTT 5, manual acknowledgement, persistent session.

paho's own thread waits with select() before each packet; here the loop tells when the socket is readable and many
packets are read at once (:mod:`ingest.burst_client`). Everything happens in the loop's thread but the blocking part
of connecting.

Memory is bounded by ``receive_maximum`` whatever the broker does: mosquitto up to 2.0.11 at least (Debian 12) sends
far more than that once acknowledgements flow (its issue 2301). Then the socket is left unread until enough is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.burst_client import BurstClient
from ingest.decode import Message
from ingest.topics import TOPIC_FILTERS, TOPIC_PREFIX

log = structlog.get_logger(__name__)

_RECONNECT_MAX_S: Final = 5.0
_BURSTS: Final = 16  # read at once before others have their turn


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where the broker is and as whom to log in; ``tls`` whether by TLS."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False


class MqttClient:
    """A connection to the broker that is made again whenever it is lost.

    ``is_passing``: with no session, no retained messages and QoS 0, so that it has only what is published meanwhile;
    nothing is acknowledged then. ``on_resumed`` is called when the broker has kept a session.
    """

    def __init__(
        self,
        address: MqttAddress,
        *,
        client_id: str,
        receive_maximum: int,
        on_message: Callable[[Message], None],
        topic_filters: Sequence[str] = TOPIC_FILTERS,
        keepalive_s: int = 30,
        session_expiry_s: int = 604_800,
        on_subscribed: Callable[[], None] | None = None,
        tls: ssl.SSLContext | None = None,
        is_passing: bool = False,
        on_resumed: Callable[[], None] | None = None,
    ) -> None:
        self._address = address
        self._receive_maximum = receive_maximum
        self._on_message_callback = on_message
        self._topic_filters = topic_filters
        self._keepalive_s = keepalive_s
        self._session_expiry_s = session_expiry_s
        self._on_subscribed = on_subscribed
        self._tls = tls
        self._is_passing = is_passing
        self._on_resumed = on_resumed
        self._stored: list[int] = []  # packet identifiers to acknowledge, all of the present connection
        self._unacknowledged = 0  # messages of the present connection
        self._held = 0  # messages given out and not acknowledged, of lost connections too
        self._paused = False
        self._reads_on = False
        self._received_at = datetime.now(UTC)  # when the packets were read that are being looked at
        self._socket: Any = None
        self._lost = asyncio.Event()
        self.generation = 0
        self.subscribed = asyncio.Event()
        self._client = self._make_client(client_id)

    def _make_client(self, client_id: str) -> BurstClient:
        client = BurstClient(client_id, self._on_plain_publish)
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        if self._address.tls:
            client.tls_set_context(self._tls)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        client.on_socket_close = self._on_socket_close
        return client

    @property
    def connected(self) -> bool:
        """Whether the subscription is in place."""
        return self.subscribed.is_set()

    @property
    def held(self) -> int:
        """Messages given out and not acknowledged yet."""
        return self._held

    async def run(self) -> None:
        """Keep connected until cancelled; then say goodbye, leaving the session to the broker."""
        self._loop = asyncio.get_running_loop()
        delay = 0.1
        try:
            while True:
                if self._held <= self._receive_maximum and await self._connect():
                    delay = 0.1
                    await self._attend()
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RECONNECT_MAX_S)
        finally:
            with contextlib.suppress(OSError, ValueError):
                self._client.disconnect()
                self._client.loop_write()
            self._detach()

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that ``message`` is stored; nothing when the connection it came by is gone.

        It is sent together with all others of this turn of the loop. Every message has to come here at its end.
        """
        self._held -= 1
        if message.qos and message.generation == self.generation:
            if not self._stored:
                self._loop.call_soon(self._send_acknowledgements)
            self._stored.append(message.mid)

    def _send_acknowledgements(self) -> None:
        self._client.acknowledge(self._stored)
        self._unacknowledged -= len(self._stored)
        self._stored.clear()
        if self._paused and self._unacknowledged <= self._receive_maximum and self._socket is not None:
            self._paused = False
            self._loop.add_reader(self._socket, self._read)
            self._read()  # TLS may hold bytes that the loop cannot see

    def respond(self, message: Message, payload: bytes) -> None:
        """Answer to the response topic of ``message`` (MQTT 5), if it names one below the device's own topic."""
        topic = message.properties.get("responseTopic")
        if not isinstance(topic, str) or not topic.startswith(TOPIC_PREFIX) or not self.connected:
            return
        own = message.topic.rsplit("/", 1)[0] + "/"
        if not topic.startswith(own) or "+" in topic or "#" in topic:
            return
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        correlation = message.properties.get("correlationData")
        if correlation is not None:
            properties.CorrelationData = bytes.fromhex(correlation)
        with contextlib.suppress(ValueError):
            self._client.publish(topic, payload, qos=1, properties=properties)

    async def _connect(self) -> bool:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if self._is_passing else self._session_expiry_s
        properties.ReceiveMaximum = self._receive_maximum
        address = self._address
        try:
            await asyncio.to_thread(
                self._client.connect,
                address.host,
                address.port,
                self._keepalive_s,
                clean_start=self._is_passing,
                properties=properties,
            )
        except OSError as exc:
            log.warning("mqtt.unreachable", host=address.host, port=address.port, error=str(exc))
            return False
        self._lost.clear()
        self.generation += 1
        self._socket = self._client.socket()
        if self._socket is None:
            return False
        self._loop.add_reader(self._socket, self._read)
        self._loop.add_writer(self._socket, self._write)
        return True

    async def _attend(self) -> None:
        """Keep the connection alive until it is lost."""
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):  # not wait_for: in Python 3.11 it can swallow a cancellation
                    await self._lost.wait()
            if not self._lost.is_set() and self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose()
        self._detach()

    def _read(self) -> None:
        """Read until nothing is left: uvloop tells once of a connection that was reset, and never again."""
        for _ in range(_BURSTS):
            if self._paused or self._socket is None:
                return
            self._received_at = datetime.now(UTC)
            if self._client.read_burst() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose()
                return
            if self._client.is_drained:
                return
            self._pause_if_much_is_held()
        if not self._reads_on:
            self._reads_on = True
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._reads_on = False
        self._read()

    def _pause_if_much_is_held(self) -> None:
        if self._unacknowledged > self._receive_maximum and self._socket is not None:
            self._paused = True
            self._loop.remove_reader(self._socket)

    def _write(self) -> None:
        if self._client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lose()
        elif not self._client.want_write():
            self._on_unregister_write(self._client, None, self._socket)

    def _lose(self) -> None:
        self.generation += 1  # what came by this connection cannot be acknowledged any more
        self._stored.clear()
        self._unacknowledged = 0
        self._paused = False
        self.subscribed.clear()
        self._detach()
        self._lost.set()

    def _detach(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = None

    def _on_register_write(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        if self._socket is not None:
            with contextlib.suppress(RuntimeError):  # uvloop has given up a socket that failed; reading meets its end
                self._loop.add_writer(self._socket, self._write)

    def _on_unregister_write(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket)

    def _on_socket_close(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        """While it is still open: the next connection may get its number, and the event loop knows sockets by that."""
        self._detach()

    def _on_connect(
        self, client: mqtt.Client, userdata: Any, flags: mqtt.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            log.error("mqtt.refused", reason=str(reason))
            self._lose()
            return
        log.info("mqtt.connected", session_present=flags.session_present)
        if flags.session_present and self._on_resumed is not None:
            self._on_resumed()
        if self._is_passing:
            options = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            client.subscribe([(wanted, options) for wanted in self._topic_filters])
            return
        if unwanted := [known for known in TOPIC_FILTERS if known not in self._topic_filters]:
            client.unsubscribe(unwanted)  # the broker's session may have them from an earlier start
        client.subscribe([(wanted, 1) for wanted in self._topic_filters])

    def _on_subscribe(
        self, client: mqtt.Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            log.error("mqtt.subscription_refused", filters=self._topic_filters, reasons=[str(r) for r in reasons])
            return
        self.subscribed.set()
        if self._on_subscribed is not None:
            self._on_subscribed()

    def _on_disconnect(
        self, client: mqtt.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        log.warning("mqtt.disconnected", reason=str(reason))
        self._lose()

    def _on_plain_publish(self, topic: str, payload: bytes, mid: int, qos: int) -> None:
        self._give_out(Message(topic, payload, self._received_at, mid, qos, self.generation))

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._give_out(
            Message(
                topic=message.topic,
                payload=bytes(message.payload),
                received_at=self._received_at,
                mid=message.mid,
                qos=message.qos,
                generation=self.generation,
                properties=_properties(message.properties),
            )
        )

    def _give_out(self, message: Message) -> None:
        if self._is_passing:
            self._on_message_callback(message)
            return
        self._held += 1
        self._unacknowledged += message.qos  # 0 or 1
        self._on_message_callback(message)


def _properties(properties: Properties | None) -> dict[str, Any]:
    """The MQTT 5 properties the hub cares for, as JSON can hold them."""
    if properties is None:
        return {}
    found = {}
    if hasattr(properties, "ResponseTopic"):
        found["responseTopic"] = properties.ResponseTopic
    if hasattr(properties, "CorrelationData"):
        found["correlationData"] = properties.CorrelationData.hex()
    if hasattr(properties, "ContentType"):
        found["contentType"] = properties.ContentType
    return found
