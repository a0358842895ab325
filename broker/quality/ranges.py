# SPDX-License-Identifier: Apache-2.0
"""Gross range (what can be) and valid range (what is to be expected): QARTOD tests 4 and 5."""

from __future__ import annotations

from broker.quality.flags import Reason

Bounds = tuple[float, float]


def outside(value: float, gross: Bounds | None, valid: Bounds | None) -> Reason | None:
    """Why ``value`` is not to be expected; both ends of a range belong to it."""
    if gross is not None and not gross[0] <= value <= gross[1]:
        return Reason.GROSS
    if valid is not None and not valid[0] <= value <= valid[1]:
        return Reason.RANGE
    return None
