# SPDX-License-Identifier: Apache-2.0
"""A simulated device that loses nothing: it keeps each message until the hub says that it is durable.

The acknowledgement of MQTT (PUBACK) says that the *broker* has a message. This device asks for more: it names a
response topic, and the hub answers there after its commit (MQTT 5). What has no answer is sent again after a
reconnect or a while; the hub stores a repeated reading once.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_RESEND_AFTER_S: Final = 5.0
_KEEPALIVE_S: Final = 30


@dataclass(slots=True)
class _Unconfirmed:
    payload: bytes
    sent_at: float


class SimulatedDevice:
    """One device: its own connection and credentials, QoS 1, at most ``window`` messages without an answer."""

    def __init__(self, host: str, port: int, username: str, password: str, *, window: int = 200) -> None:
        self._topic = f"minamo/v1/{username}/readings"
        self._receipts = f"minamo/v1/{username}/receipts"
        self._window = window
        self._unconfirmed: dict[int, _Unconfirmed] = {}
        self._next = 0
        self._changed = threading.Condition()
        self.quarantined: list[dict[str, Any]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"sim-{username}", protocol=mqtt.MQTTv5)
        self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(min_delay=1, max_delay=2)
        self._client.max_inflight_messages_set(window)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect_async(host, port, _KEEPALIVE_S, clean_start=True)
        self._client.loop_start()

    def publish(self, readings: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Send a message; waits while too many have no answer yet."""
        payload = orjson.dumps(readings)
        with self._changed:
            while len(self._unconfirmed) >= self._window:
                self._changed.wait(1.0)
                self._resend_old()
            number = self._next
            self._next += 1
            self._unconfirmed[number] = _Unconfirmed(payload, time.monotonic())
        self._send(number, payload)

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is durable; returns how many messages are still without an answer."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._unconfirmed and time.monotonic() < deadline:
                self._changed.wait(0.5)
                self._resend_old()
            return len(self._unconfirmed)

    def resend_old(self) -> None:
        """Send again what has waited too long for its answer."""
        with self._changed:
            self._resend_old()

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _send(self, number: int, payload: bytes) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self._receipts
        properties.CorrelationData = number.to_bytes(8, "big")
        # Not connected: paho would queue it; it is sent from _on_connect instead.
        if self._client.is_connected():
            self._client.publish(self._topic, payload, qos=1, properties=properties)

    def _resend_old(self) -> None:
        now = time.monotonic()
        for number, message in self._unconfirmed.items():
            if now - message.sent_at > _RESEND_AFTER_S:
                message.sent_at = now
                self._send(number, message.payload)

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self._receipts, qos=1)
        with self._changed:
            now = time.monotonic()
            for number, message in self._unconfirmed.items():
                message.sent_at = now
                self._send(number, message.payload)

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", None)
        if correlation is None:
            return
        answer = orjson.loads(message.payload)
        with self._changed:
            confirmed = self._unconfirmed.pop(int.from_bytes(correlation, "big"), None)
            if confirmed is not None and answer.get("status") == "quarantined":
                self.quarantined.append(answer)
            self._changed.notify_all()
