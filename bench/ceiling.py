# SPDX-License-Identifier: Apache-2.0
"""The ceiling of ingest: paho that only receives. QoS 1, acknowledged on receipt, each payload parsed and forgotten.

A process of its own. It says ``ready`` when it is subscribed, and after ``--count`` messages when the last one was
there and what processor time they took from the first on; then it waits for the next ``--count`` of the list.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


class Receiver:
    """Counts messages and reports each time the next number of ``counts`` is reached."""

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts
        self._received = 0
        self._cpu_s = 0.0

    def on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        """Parse; at the last of a round report."""
        if not self._received:
            self._cpu_s = time.process_time()
        orjson.loads(message.payload)
        self._received += 1
        if self._received == self._counts[0]:
            report = {"last": time.monotonic(), "cpu_s": time.process_time() - self._cpu_s}
            print(orjson.dumps(report).decode(), flush=True)
            self._received = 0
            self._counts.pop(0)
            if not self._counts:
                client.disconnect()


def main() -> None:
    """Receive until all counts are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--protocol", choices=["3.1.1", "5"], required=True)
    parser.add_argument("--count", type=int, action="append", required=True)
    given = parser.parse_args()
    protocol = MQTTProtocolVersion.MQTTv5 if given.protocol == "5" else MQTTProtocolVersion.MQTTv311
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "bench-ceiling", protocol=protocol)
    client.username_pw_set(given.user, os.environ["BENCH_MQTT_PASSWORD"])
    client.on_connect = lambda client, *_: client.subscribe("minamo/v1/+/readings", qos=1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = Receiver(given.count).on_message
    client.connect("127.0.0.1", given.port)
    client.loop_forever()


if __name__ == "__main__":
    main()
