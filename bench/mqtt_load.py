# SPDX-License-Identifier: Apache-2.0
"""A load of readings over one raw MQTT connection, encoded before it is sent, in a process of its own.

It says ``ready`` on standard output, begins at a line on standard input and tells at the end when it sent the first
packet, when the last PUBACK came (both CLOCK_MONOTONIC, which all processes share) and what processor time it took.
At most ``window`` messages are without a PUBACK. MQTT 3.1.1: its PUBACK is four bytes, whatever happens.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import orjson

from bench.device_formats import FORMATS

JST: Final = timezone(timedelta(hours=9))
JSON: Final = "json"
_CHUNK: Final = 50  # messages in one send
_PUBACK_BYTES: Final = 4
_RECEIVE_BYTES: Final = 65_536


def device_key(number: int, form: str = JSON) -> str:
    """The key of the simulated device with this number, of those that send in this format."""
    return f"bench-{number:04d}" if form == JSON else f"bench-{form}-{number:04d}"


def reading(number: int, start: datetime, devices: int, form: str = JSON) -> tuple[str, bytes]:
    """Device key and payload of reading ``number``: the devices in turn, each a reading a second from ``start`` on."""
    turn, device = divmod(number, devices)
    moment = (start + timedelta(seconds=turn)).astimezone(JST)
    return device_key(device, form), FORMATS[form].message(moment, level(number), number)


def level(number: int) -> float:
    """The level in reading ``number``, in metres: rises and falls by half a metre, as a river may (1 mm a second).

    Readings of one device that follow each other differ, and none is doubtful.
    """
    return round(0.5 + abs((number + 100_000) % 200_000 - 100_000) / 200_000, 6)


def connect_packet(client_id: str, username: str, password: str) -> bytes:
    """CONNECT with a clean session and no keep alive."""
    head = _text("MQTT") + bytes([4, 0b1100_0010]) + (0).to_bytes(2, "big")
    return _packet(0x10, head + _text(client_id) + _text(username) + _text(password))


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    """PUBLISH with QoS 1."""
    return _packet(0x32, _text(topic) + packet_id.to_bytes(2, "big") + payload)


def open_connection(host: str, port: int, client_id: str, username: str, password: str) -> socket.socket:
    """A socket on which the broker has accepted the connection."""
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(connect_packet(client_id, username, password))
    answer = connection.recv(4)
    if answer != b"\x20\x02\x00\x00":
        raise ConnectionError(f"the broker refuses the connection: {answer.hex()}")
    return connection


def chunks(count: int, start: datetime, devices: int, form: str = JSON) -> list[bytes]:
    """All packets, ``_CHUNK`` messages in each piece."""
    packets = []
    for number in range(count):
        key, payload = reading(number, start, devices, form)
        packets.append(publish_packet(f"minamo/v1/{key}/readings", payload, number % 65_535 + 1))
    return [b"".join(packets[first : first + _CHUNK]) for first in range(0, count, _CHUNK)]


def send(connection: socket.socket, pieces: list[bytes], count: int, window: int) -> tuple[float, float]:
    """Send all; returns the times of the first send and of the last PUBACK."""
    first = time.monotonic()
    sent = received_bytes = 0
    while received_bytes < count * _PUBACK_BYTES:
        while sent < len(pieces) and (sent + 1) * _CHUNK - received_bytes // _PUBACK_BYTES <= window:
            connection.sendall(pieces[sent])
            sent += 1
        received = connection.recv(_RECEIVE_BYTES)
        if not received:
            raise ConnectionError("the broker closed the connection")
        received_bytes += len(received)
    return first, time.monotonic()


def _packet(command: int, body: bytes) -> bytes:
    length, remaining = bytearray(), len(body)
    while True:
        remaining, digit = divmod(remaining, 128)
        length.append(digit | (0x80 if remaining else 0))
        if not remaining:
            return bytes([command]) + length + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def main() -> None:
    """Encode, wait for the word, send, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--start", type=float, required=True, help="time of the first reading, seconds of the epoch")
    parser.add_argument("--format", choices=FORMATS, default=JSON)
    parser.add_argument("--window", type=int, default=1000)
    given = parser.parse_args()
    pieces = chunks(given.count, datetime.fromtimestamp(given.start, UTC), given.devices, given.format)
    password = os.environ["BENCH_MQTT_PASSWORD"]
    with open_connection("127.0.0.1", given.port, "bench-load", given.user, password) as connection:
        print("ready", flush=True)
        sys.stdin.readline()
        before = time.process_time()
        first, last = send(connection, pieces, given.count, given.window)
        connection.sendall(b"\xe0\x00")
    report = {"first": first, "last": last, "cpu_s": time.process_time() - before}
    report["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(orjson.dumps(report).decode(), flush=True)


if __name__ == "__main__":
    main()
