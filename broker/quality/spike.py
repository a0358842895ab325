# SPDX-License-Identifier: Apache-2.0
"""Spikes: QARTOD test 6, for a stream.

QARTOD compares a value with those before and after it. When a reading comes there is none after it yet: it is suspected
at once, and the next reading decides (:mod:`broker.quality.judging`).
"""

from __future__ import annotations


def is_spike(change: float, elapsed_s: float, jump: float, within_s: float) -> bool:
    """Whether a ``change`` since the last good value, ``elapsed_s`` ago, is more than ``jump``; not after a longer
    time than ``within_s``."""
    return elapsed_s <= within_s and not -jump <= change <= jump
