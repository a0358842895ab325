# SPDX-License-Identifier: Apache-2.0
"""What the process that receives and those that write tell each other, as bytes on a stream. Pure.

To a writer go messages, each with a number: what it is called when its writer says that it is stored. Back come those
numbers, answers for devices, and what each commit did.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from broker.intake.readings import CommitSummary
from ingest.decode import Message

STORED: Final = b"S"  # numbers of messages
ANSWER: Final = b"A"  # the number of a message, and what to publish to its response topic
COMMITTED: Final = b"C"  # a CommitSummary, and the seconds since the oldest message of it came
READY: Final = b"R"  # the writer has what it needs

# number, time of arrival (seconds of the epoch), bytes of topic, payload and properties (JSON).
_MESSAGE: Final = struct.Struct(">IdHIH")
_NEWS: Final = struct.Struct(">cI")  # kind, bytes
_COMMIT: Final = struct.Struct(">7Id")
_NUMBER: Final = struct.Struct(">I")
_NUMBERS: Final = "I"  # 4 bytes in the order of this machine: both ends are on it


def message_frame(number: int, message: Message) -> bytes:
    """``message`` for a writer."""
    topic = message.topic.encode()
    properties = orjson.dumps(dict(message.properties)) if message.properties else b""
    payload = message.payload
    head = _MESSAGE.pack(number, message.received_at.timestamp(), len(topic), len(payload), len(properties))
    return b"%b%b%b%b" % (head, topic, payload, properties)


def messages_in(stream: bytes) -> tuple[list[Message], bytes]:
    """The messages at the beginning of ``stream``, with their numbers as ``mid``, and the rest that is not complete."""
    found: list[Message] = []
    position, last = 0, len(stream)
    while last - position >= _MESSAGE.size:
        number, received_at, topic_bytes, payload_bytes, properties_bytes = _MESSAGE.unpack_from(stream, position)
        topic = position + _MESSAGE.size
        payload = topic + topic_bytes
        properties = payload + payload_bytes
        end = properties + properties_bytes
        if end > last:
            break
        said: dict[str, Any] = orjson.loads(stream[properties:end]) if properties_bytes else {}
        moment = datetime.fromtimestamp(received_at, UTC)
        name = stream[topic:payload].decode()
        found.append(Message(name, stream[payload:properties], moment, number, 1, 0, said))
        position = end
    return found, stream[position:]


def news(kind: bytes, body: bytes = b"") -> bytes:
    """One piece of news of a writer."""
    return _NEWS.pack(kind, len(body)) + body


def news_in(stream: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The news (kind, body) at the beginning of ``stream``, and the rest that is not complete."""
    found: list[tuple[bytes, bytes]] = []
    position, last = 0, len(stream)
    while last - position >= _NEWS.size:
        kind, length = _NEWS.unpack_from(stream, position)
        begin = position + _NEWS.size
        if begin + length > last:
            break
        found.append((kind, stream[begin : begin + length]))
        position = begin + length
    return found, stream[position:]


def stored(numbers: Iterable[int]) -> bytes:
    """News: the messages with these numbers are stored."""
    return news(STORED, array(_NUMBERS, numbers).tobytes())


def stored_in(body: bytes) -> Iterator[int]:
    """The numbers in the body of :func:`stored`."""
    return iter(array(_NUMBERS, body))


def answer(number: int, payload: bytes) -> bytes:
    """News: what the device is to be told about its message."""
    return news(ANSWER, _NUMBER.pack(number) + payload)


def answer_in(body: bytes) -> tuple[int, bytes]:
    """Number and payload in the body of :func:`answer`."""
    return _NUMBER.unpack_from(body)[0], body[_NUMBER.size :]


def committed(summary: CommitSummary, seconds: float) -> bytes:
    """News: a commit."""
    return news(
        COMMITTED,
        _COMMIT.pack(
            summary.values,
            summary.current,
            summary.late,
            summary.repeated,
            summary.corrections,
            summary.quarantined,
            summary.missing,
            seconds,
        ),
    )


def committed_in(body: bytes) -> tuple[CommitSummary, float]:
    """What :func:`committed` was given."""
    *counts, seconds = _COMMIT.unpack(body)
    return CommitSummary(*counts), seconds
