# SPDX-License-Identifier: Apache-2.0
"""Who may have how many deliveries under way, and when a failed one is tried again. Pure."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adapters.channels.webhook import SendResult

_OPENS_AFTER: Final = 3  # attempts in a row that were not answered
_QUICK_S: Final = 0.05  # a receiver that answers within this is quick
_AHEAD: Final = 4  # times the share of a quick receiver that a worker takes at once
_REMEMBERED: Final = 100  # quick receivers
_FIRST_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter, up to an age after which a delivery is a dead letter."""

    first_s: float = 1.0
    longest_s: float = 300.0
    max_age: timedelta = timedelta(hours=72)

    def next_attempt(self, attempts: int, queued_at: datetime, now: datetime, jitter: float) -> datetime | None:
        """When to try again after ``attempts`` failures; None when it is too old. ``jitter`` is within 0 to 1."""
        if now - queued_at >= self.max_age:
            return None
        pause = min(self.first_s * 2 ** min(attempts - 1, 30), self.longest_s)
        return now + timedelta(seconds=pause * (0.5 + jitter / 2))


@dataclass(slots=True)
class _Suspicion:
    """Of a receiver that did not answer: how often in a row, and until when it is left alone."""

    failures: int = 0
    until: float = 0.0


class Shares:
    """How much of what there is each receiver has.

    A receiver that did not answer is *suspect* until it does: it gets one attempt at a time, and all suspects together
    at most half of what there is. However many receivers are down, the others keep the other half. After the third
    failure in a row it is left alone, for 1 s doubling to ``longest_pause_s``, and asked again with one attempt.

    Of a receiver that is *quick* more is taken than may be under way at once, so that there is something to go on with
    until the next look into the queue.
    """

    def __init__(
        self,
        concurrency: int,
        per_destination: int,
        *,
        longest_pause_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_destination = per_destination
        self._for_suspects = max(1, concurrency // 2)
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._in_flight: Counter[str] = Counter()
        self._suspects: dict[str, _Suspicion] = {}
        self._quick: dict[str, None] = {}  # the one that answered last at the end

    def begin(self, receiver: str) -> None:
        """An attempt begins."""
        self._in_flight[receiver] += 1

    def end(self, receiver: str) -> None:
        """An attempt is over, however it ended."""
        self._in_flight[receiver] -= 1
        if not self._in_flight[receiver]:
            del self._in_flight[receiver]

    def is_suspect(self, receiver: str) -> bool:
        """Whether it did not answer last."""
        return receiver in self._suspects

    def judge(self, receiver: str, result: SendResult, seconds: float = math.inf) -> bool:
        """The receiver answered after ``seconds``, even if with a refusal, or it did not.

        Returns whether it has come back.
        """
        self._quick.pop(receiver, None)
        if is_answer(result):
            if seconds <= _QUICK_S:
                self._quick[receiver] = None
                if len(self._quick) > _REMEMBERED:
                    del self._quick[next(iter(self._quick))]
            return self._suspects.pop(receiver, None) is not None
        suspicion = self._suspects.setdefault(receiver, _Suspicion())
        suspicion.failures += 1
        if suspicion.failures >= _OPENS_AFTER:
            pause = min(_FIRST_PAUSE_S * 2 ** min(suspicion.failures - _OPENS_AFTER, 30), self._longest_pause_s)
            jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads attempts, guards nothing
            suspicion.until = self._clock() + pause * jitter
        return False

    def taken(self) -> Mapping[str, int]:
        """By receiver, how much of its share (``per_destination``) is taken; less than nothing: it may have more."""
        busy = sum(count for receiver, count in self._in_flight.items() if receiver in self._suspects)
        spare = busy < self._for_suspects
        now = self._clock()
        counts = dict(self._in_flight)
        more = (_AHEAD - 1) * self.per_destination
        counts |= {receiver: counts.get(receiver, 0) - more for receiver in self._quick}
        for receiver, suspicion in self._suspects.items():
            free = spare and receiver not in self._in_flight and suspicion.until <= now
            counts[receiver] = self.per_destination - free
        return counts


def is_answer(result: SendResult) -> bool:
    """Whether a receiver did answer; a 5xx counts as no answer."""
    return result.status is not None and result.status < 500
