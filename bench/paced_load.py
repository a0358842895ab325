# SPDX-License-Identifier: Apache-2.0
"""Readings at an even pace over one raw MQTT connection (QoS 1), in a process of its own.

Every device sends a level once in ``devices / rate`` seconds. Every tenth reading (``--crossing-every``) crosses the
threshold, up or down, the crossings spread evenly over the devices. At the end it tells of each crossing the device,
the time in the reading and when its PUBLISH was given to the socket (CLOCK_MONOTONIC, which all processes share).
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from bench.mqtt_load import device_key, open_connection, publish_packet
from broker.times import to_text

THRESHOLD: Final = 1.0  # metres
_LOW, _HIGH = 0.5, 1.5


class Levels:
    """The level of each device, turn by turn."""

    def __init__(self, devices: int, crossing_every: int) -> None:
        self._levels = [_LOW] * devices
        self._crossing_every = crossing_every

    def next(self, device: int, turn: int) -> tuple[float, bool]:
        """The level that ``device`` reads in this turn, and whether it has crossed the threshold."""
        crosses = turn > 0 and (device + turn) % self._crossing_every == 0
        if crosses:
            self._levels[device] = _LOW if self._levels[device] == _HIGH else _HIGH
        return self._levels[device], crosses


def run(connection: socket.socket, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Send for so many seconds as the devices from number ``first`` on; the crossings."""
    rate, seconds = given.rate, given.seconds
    devices = range(given.first, given.first + given.devices)
    levels, crossings = Levels(len(devices), given.crossing_every), []
    begin = time.monotonic()
    late = 0.0
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
        _drain(connection)
        turn, place = divmod(number, len(devices))
        device = devices[place]
        level, crosses = levels.next(place, turn)
        observed_at = to_text(datetime.now(UTC))
        payload = orjson.dumps({"time": observed_at, "level": level, "battery": 3.61, "rssi": -71, "sequence": number})
        packet = publish_packet(f"minamo/v1/{device_key(device)}/readings", payload, number % 65_535 + 1)
        sent = time.monotonic()
        late = max(late, sent - due)
        connection.sendall(packet)
        if crosses:
            crossings.append({"device": device, "observedAt": observed_at, "sent": sent})
    print(f"the sender was at most {late * 1000:.0f} ms behind its pace", file=sys.stderr)
    return crossings


def _drain(connection: socket.socket) -> None:
    """Throw PUBACKs away."""
    try:
        while connection.recv(65_536, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        return
    raise ConnectionError("the broker closed the connection")


def main() -> None:
    """Wait for the word, send, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="the number of the first device")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--crossing-every", type=int, default=10, help="readings")
    given = parser.parse_args()
    password = os.environ["BENCH_MQTT_PASSWORD"]
    with open_connection("127.0.0.1", given.port, "bench-paced", given.user, password) as connection:
        print("ready", flush=True)
        sys.stdin.readline()
        crossings = run(connection, given)
        time.sleep(1)
        _drain(connection)
        connection.sendall(b"\xe0\x00")
    print(orjson.dumps({"crossings": crossings}).decode(), flush=True)


if __name__ == "__main__":
    main()
