# SPDX-License-Identifier: Apache-2.0
"""Rate of change: QARTOD test 7."""

from __future__ import annotations


def is_too_fast(change: float, elapsed_s: float, most: float, per_s: float) -> bool:
    """Whether a ``change`` since the last good value, ``elapsed_s`` ago, is more than ``most`` in each ``per_s``.

    In a shorter time, as much is allowed as in ``per_s``: the noise of two readings in one second is no rate.
    """
    allowed = most * elapsed_s / per_s if elapsed_s > per_s else most
    return not -allowed <= change <= allowed
