# SPDX-License-Identifier: Apache-2.0
"""Gaps: the first reading after a pause. That none comes at all is told by :mod:`broker.devices.silence`."""

from __future__ import annotations


def is_after_gap(elapsed_s: float, gap_s: float) -> bool:
    """Whether the reading before was longer ago than ``gap_s``."""
    return elapsed_s > gap_s
