# SPDX-License-Identifier: Apache-2.0
"""What receiver and writers tell each other comes out as it went in, however the stream is cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.intake.readings import CommitSummary
from ingest import frames
from ingest.decode import Message

MESSAGES = st.builds(
    Message,
    topic=st.text(st.characters(codec="utf-8"), max_size=20),
    payload=st.binary(max_size=50),
    received_at=st.integers(0, 4 * 10**15).map(
        lambda number: datetime(1999, 1, 1, tzinfo=UTC) + timedelta(microseconds=number)
    ),
    mid=st.integers(0, 2**32 - 1),
    qos=st.just(1),
    generation=st.just(0),
    properties=st.dictionaries(st.sampled_from(["responseTopic", "correlationData"]), st.text(max_size=9)),
)


@given(st.lists(MESSAGES, max_size=5), st.integers(1, 40))
def test_messages_arrive_as_they_were_however_the_stream_is_cut(messages: list[Message], piece: int) -> None:
    stream = b"".join(frames.message_frame(message.mid, message) for message in messages)
    arrived: list[Message] = []
    rest = b""
    for at in range(0, len(stream), piece):
        found, rest = frames.messages_in(rest + stream[at : at + piece])
        arrived += found
    assert (arrived, rest) == (messages, b"")


@given(st.lists(st.integers(0, 2**32 - 1)), st.binary(max_size=50))
def test_news_arrive_as_they_were(numbers: list[int], payload: bytes) -> None:
    summary = CommitSummary(1, 2, 3, 4, 5, 6, 7)
    sent = frames.stored(numbers) + frames.answer(7, payload) + frames.committed(summary, 0.25)
    news, rest = frames.news_in(sent + b"S")
    (_, first), (_, second), (_, third) = news
    assert [kind for kind, _ in news] == [frames.STORED, frames.ANSWER, frames.COMMITTED]
    assert list(frames.stored_in(first)) == numbers
    assert frames.answer_in(second) == (7, payload)
    assert frames.committed_in(third) == (summary, 0.25)
    assert rest == b"S"


def test_the_time_of_arrival_is_exact_to_the_microsecond() -> None:
    moments = [datetime(2026, 11, 21, tzinfo=UTC) + timedelta(microseconds=n) for n in range(2000)]
    stream = b"".join(frames.message_frame(1, Message("t", b"", moment)) for moment in moments)
    assert [message.received_at for message in frames.messages_in(stream)[0]] == moments
