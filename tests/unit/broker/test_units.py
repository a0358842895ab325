# SPDX-License-Identifier: Apache-2.0
"""Units that can be turned into each other."""

from __future__ import annotations

import pytest

from broker.units import conversion


@pytest.mark.parametrize(
    ("source", "target", "value", "expected"),
    [("MMT", "MTR", 1234, 1.234), ("CMT", "MTR", -173, -1.73), ("FAH", "CEL", 212, 100), ("KEL", "CEL", 273.15, 0)],
)
def test_value_in_another_unit(source: str, target: str, value: float, expected: float) -> None:
    factor, offset = conversion(source, target) or (0, 0)
    assert value * factor + offset == pytest.approx(expected)


@pytest.mark.parametrize(("source", "target"), [("MTR", "CEL"), ("MTR", "XXX"), ("XXX", "MTR")])
def test_what_does_not_belong_together_is_not_converted(source: str, target: str) -> None:
    assert conversion(source, target) is None
