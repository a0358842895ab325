# SPDX-License-Identifier: Apache-2.0
"""A connection that the other side resets is made again at once, however much of it was still to be read."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
import uvloop

from ingest.client import MqttAddress, MqttClient
from ingest.decode import Message
from support.waiting import eventually

SUBSCRIBE = 0x82
CONNACK = b"\x20\x03\x00\x00\x00"
READING = b"\x30\x0a\x00\x04test\x00{1}"  # QoS 0: topic, no properties, payload
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def reset_each(listening: socket.socket, readings: int) -> None:
    """A broker that takes each connection, sends this many readings and resets it before they can be read."""
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listening)
        await loop.sock_recv(connection, 1000)
        await loop.sock_sendall(connection, CONNACK)
        assert (await loop.sock_recv(connection, 1000))[0] == SUBSCRIBE  # now the client has nothing more to write
        if readings:
            connection.send(READING * readings)  # as much of it as goes at once
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.close()


async def connections_made(readings: int) -> None:
    """Returns when the client has come for the third time."""
    got: list[Message] = []

    def take(message: Message) -> None:
        got.append(message)
        client.acknowledge(message)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        address = MqttAddress(*listening.getsockname())
        client = MqttClient(address, client_id="test", receive_maximum=100, on_message=take)
        tasks = [asyncio.create_task(reset_each(listening, readings)), asyncio.create_task(client.run())]
        try:
            await eventually(lambda: client.generation >= 5)  # one up with each connection, one with each loss
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert not readings or got


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("readings", [0, 10, 10_000])
def test_a_reset_connection_is_made_again_without_waiting_for_the_keep_alive(
    new_loop: Callable[[], asyncio.AbstractEventLoop], readings: int
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(connections_made(readings))
