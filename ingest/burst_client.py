# SPDX-License-Identifier: Apache-2.0
"""paho with a way around its slowest steps for the packets that nearly all are: readings coming in, PUBACKs going out.

paho asks the socket for each byte of a packet's head, makes an object for MQTT 5 properties that are not there and
sends each PUBACK with a system call of its own. Here the socket is read in large pieces, and a PUBLISH with QoS 0 or
1 and without properties is understood in place. All other packets go to paho whole, as it would have read them
itself, and so does the rest of the protocol: connecting, TLS, keep alive, subscribing, publishing. Measured with
bench/ingest.py this is half of the processor time of ingest.

Two inner methods of paho are used, ``_sock_recv`` and ``_packet_queue``; a test holds that they are what they were.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTErrorCode

# Topic, payload, packet identifier (0 with QoS 0), QoS.
OnPlainPublish = Callable[[str, bytes, int, int], None]

_READ_BYTES: Final = 65_536
_PUBLISH: Final = 0x30
_QOS_1: Final = 0x02
_QOS_2: Final = 0x04
_CONTINUED: Final = 0x80  # of a digit of a variable byte integer: another one follows
_LENGTH_DIGITS: Final = 4

_puback: Final = struct.Struct(">BBH").pack


class BurstClient(mqtt.Client):
    """An MQTT 5 client with manual acknowledgement, driven by an event loop with :meth:`read_burst`.

    ``on_plain_publish`` gets the messages without properties, ``on_message`` those with.
    """

    def __init__(self, client_id: str, on_plain_publish: OnPlainPublish) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        self._on_plain_publish = on_plain_publish
        self._unread = b""
        self._handed: bytes | None = None
        self.is_drained = False  # whether the last read_burst found nothing more, in the socket or in TLS

    def reconnect(self) -> MQTTErrorCode:
        """As paho's; what the last connection left is forgotten."""
        self._unread = b""
        return super().reconnect()

    def read_burst(self) -> MQTTErrorCode:
        """Read once from the socket and work through the packets that are complete now."""
        try:
            received = super()._sock_recv(_READ_BYTES)
        except BlockingIOError:
            self.is_drained = True
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            received = b""
        self.is_drained = False
        if not received:
            return self.loop_read()  # paho meets the end itself, and tells on_disconnect
        unread = self._unread + received if self._unread else received
        position = 0
        while (found := next_packet(unread, position)) is not None:
            body, end = found
            if not self._take_plain(unread[position], unread, body, end):
                code = self._hand_over(unread[position:end])
                if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    return code
            position = end
        self._unread = unread[position:]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Queue PUBACKs (success) for the packets ``mids``, to be sent together."""
        packets = b"".join([_puback(MessageType.PUBACK, 2, mid) for mid in mids])
        if packets:
            self._packet_queue(MessageType.PUBACK, packets, 0, 1)

    def _take_plain(self, first: int, unread: bytes, body: int, end: int) -> bool:
        """Take a PUBLISH with QoS 0 or 1 and no properties; False when the packet is something else."""
        if first & 0xF0 != _PUBLISH or first & _QOS_2:
            return False
        qos = 1 if first & _QOS_1 else 0
        topic = body + 2
        rest = topic + int.from_bytes(unread[body:topic], "big")
        payload = rest + 2 * qos + 1
        if payload > end or unread[payload - 1] != 0:  # too short, or there are properties
            return False
        try:
            name = unread[topic:rest].decode()
        except UnicodeDecodeError:
            return False
        mid = int.from_bytes(unread[rest : rest + 2], "big") if qos else 0
        self._on_plain_publish(name, unread[payload:end], mid, qos)
        return True

    def _hand_over(self, packet: bytes) -> MQTTErrorCode:
        """Have paho read one complete packet."""
        self._handed = packet
        try:
            return self.loop_read()
        finally:
            self._handed = None

    def _sock_recv(self, bufsize: int) -> Any:
        """What paho reads: the packet handed over, else the socket."""
        if self._handed is None:
            return super()._sock_recv(bufsize)
        if not self._handed:
            raise BlockingIOError
        piece, self._handed = self._handed[:bufsize], self._handed[bufsize:]
        return piece


def next_packet(unread: bytes, position: int) -> tuple[int, int] | None:
    """Where the packet at ``position`` has its body and where it ends; None while it is not complete.

    A length of more digits than the protocol allows is a packet without a body: paho will refuse it.
    """
    length = shift = 0
    last = len(unread)
    for at in range(position + 1, position + 1 + _LENGTH_DIGITS):
        if at >= last:
            return None
        digit = unread[at]
        length |= (digit & 0x7F) << shift
        if not digit & _CONTINUED:
            end = at + 1 + length
            return (at + 1, end) if end <= last else None
        shift += 7
    end = position + 2 + _LENGTH_DIGITS
    return (end, end) if end <= last else None
