# SPDX-License-Identifier: Apache-2.0
"""Flat line: QARTOD test 8. A river in flood moves; one in low water may stand still for weeks."""

from __future__ import annotations

from datetime import datetime


def is_stuck(value: float, at: datetime, since: datetime, after_s: float, above: float | None) -> bool:
    """Whether ``value`` has been the same from ``since`` to ``at`` for ``after_s`` or more.

    Below ``above`` nothing is stuck.
    """
    return (above is None or value >= above) and (at - since).total_seconds() >= after_s
