# SPDX-License-Identifier: Apache-2.0
"""Asks an MQTT broker whether it lets us in: one CONNECT, one CONNACK (MQTT 5, sections 3.1 and 3.2)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

_CONNECT: Final = 0x10
_CONNACK: Final = 0x20
_DISCONNECT: Final = b"\xe0\x00"
_FLAGS: Final = 0b1100_0010  # user name, password, clean start


async def accepts(host: str, port: int, username: str, password: str, timeout_s: float = 2.0) -> bool:
    """Whether the broker accepts these credentials within ``timeout_s``."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_connect_packet(username, password))
                await writer.drain()
                kind, length = await reader.readexactly(2)
                answer = await reader.readexactly(min(length, 127))
                writer.write(_DISCONNECT)
                return kind == _CONNACK and answer[1] == 0
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, IndexError):
        return False


def _connect_packet(username: str, password: str) -> bytes:
    # Protocol 5, keep alive 10 s, no properties, an empty client id (the broker assigns one).
    body = _text("MQTT") + bytes([5, _FLAGS, 0, 10, 0]) + _text("") + _text(username) + _text(password)
    if len(body) > 127:
        raise ValueError("user name and password are too long for a probe")
    return bytes([_CONNECT, len(body)]) + body


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2) + data
