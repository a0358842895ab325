# SPDX-License-Identifier: Apache-2.0
"""Packets read in large pieces are what paho would have read one byte at a time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.burst_client import BurstClient, next_packet

CONNACK = b"\x20\x03\x00\x00\x00"
PINGRESP = b"\xd0\x00"
TOPIC = "minamo/v1/水位計-1/readings"


def publish(
    payload: bytes = b"{}", *, topic: str = TOPIC, qos: int = 1, mid: int = 7, properties: bytes = b"\x00"
) -> bytes:
    name = topic.encode()
    identifier = mid.to_bytes(2, "big") if qos else b""
    body = len(name).to_bytes(2, "big") + name + identifier + properties + payload
    return bytes([0x30 | qos << 1]) + variable_length(len(body)) + body


def variable_length(number: int) -> bytes:
    digits = bytearray()
    while True:
        number, digit = divmod(number, 128)
        digits.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(digits)


def with_response_topic() -> bytes:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = "minamo/v1/gauge/receipts"
    return publish(b"[1]", mid=8, properties=bytes(properties.pack()))  # type: ignore[no-untyped-call]


@dataclass
class Connection:
    """A client with a broker that the test plays."""

    broker: socket.socket
    plain: list[tuple[str, bytes, int, int]] = field(default_factory=list)
    other: list[mqtt.MQTTMessage] = field(default_factory=list)
    client: BurstClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = BurstClient("test", lambda *message: self.plain.append(message))
        self.client.on_message = lambda _client, _userdata, message: self.other.append(message)
        self.client.on_socket_register_write = lambda *_: None

    def send(self, data: bytes) -> MQTTErrorCode:
        self.broker.sendall(data)
        return self.client.read_burst()


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    ours, broker = socket.socketpair()
    monkeypatch.setattr(mqtt.Client, "_create_socket", lambda _self: ours)
    made = Connection(broker)
    made.client.connect("test.invalid")
    made.client.loop_write()
    assert broker.recv(1000)[0] == 0x10
    assert made.send(CONNACK) == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert made.client.is_connected()
    yield made
    broker.close()
    ours.close()


def test_plain_messages_of_one_piece_come_in_order(connection: Connection) -> None:
    connection.send(publish(b"1", mid=1) + publish(b"2", qos=0) + publish(b"", mid=65_535) + publish(b"4" * 500, mid=4))
    expected = [(b"1", 1, 1), (b"2", 0, 0), (b"", 65_535, 1), (b"4" * 500, 4, 1)]
    assert connection.plain == [(TOPIC, *message) for message in expected]


def test_message_with_properties_goes_through_paho(connection: Connection) -> None:
    connection.send(publish(b"1") + with_response_topic() + PINGRESP + publish(b"2"))
    assert [payload for _, payload, _, _ in connection.plain] == [b"1", b"2"]
    (message,) = connection.other
    assert (message.topic, message.payload, message.mid, message.qos) == (TOPIC, b"[1]", 8, 1)
    properties: Any = message.properties
    assert properties.ResponseTopic == "minamo/v1/gauge/receipts"


@pytest.mark.parametrize("cut", range(1, len(publish(b"x" * 200))))
def test_packets_cut_anywhere_are_put_together(connection: Connection, cut: int) -> None:
    data = publish(b"x" * 200) + with_response_topic()
    assert connection.send(data[:cut]) == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert connection.plain == []
    connection.send(data[cut:])
    assert [len(payload) for _, payload, _, _ in connection.plain] == [200]
    assert [message.mid for message in connection.other] == [8]


def test_acknowledgements_are_sent_together_in_their_order(connection: Connection) -> None:
    connection.client.acknowledge([1, 300, 65_535])
    connection.client.loop_write()
    assert connection.broker.recv(100) == b"\x40\x02\x00\x01\x40\x02\x01\x2c\x40\x02\xff\xff"


def test_acknowledging_nothing_sends_nothing(connection: Connection) -> None:
    connection.client.acknowledge([])
    assert not connection.client.want_write()


def test_nothing_to_read_is_no_error(connection: Connection) -> None:
    assert connection.client.read_burst() == MQTTErrorCode.MQTT_ERR_SUCCESS


def test_end_of_the_connection_is_told(connection: Connection) -> None:
    told: list[Any] = []
    connection.client.on_disconnect = lambda *arguments: told.append(arguments)
    connection.broker.close()
    assert connection.client.read_burst() != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert len(told) == 1


def test_malformed_length_ends_the_connection(connection: Connection) -> None:
    assert connection.send(b"\x30\x80\x80\x80\x80\x80") != MQTTErrorCode.MQTT_ERR_SUCCESS


def test_publish_too_short_for_its_topic_is_no_message(connection: Connection) -> None:
    connection.send(b"\x32\x04\x00\x50ab" + publish(b"1"))
    assert all(payload != b"" for _, payload, _, _ in connection.plain)


def test_half_a_packet_of_the_last_connection_is_forgotten(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.send(publish(b"lost")[:10])
    ours, broker = socket.socketpair()
    monkeypatch.setattr(mqtt.Client, "_create_socket", lambda _self: ours)
    connection.client.reconnect()
    with ours, broker:
        broker.sendall(CONNACK + publish(b"1"))
        connection.client.read_burst()
    assert [payload for _, payload, _, _ in connection.plain] == [b"1"]


@given(st.integers(0, 300_000), st.integers(0, 10))
def test_next_packets_where_its_length_says(length: int, before: int) -> None:
    packet = b"\x30" + variable_length(length) + bytes(length)
    unread = bytes(before) + packet + b"\xd0"
    assert next_packet(unread, before) == (before + len(packet) - length, before + len(packet))
    assert next_packet(unread[: before + len(packet) - 1], before) is None
