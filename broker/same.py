# SPDX-License-Identifier: Apache-2.0
"""Objects as keys of caches by what they are and not by what they are equal to."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Same(Generic[T]):
    """``value`` by identity: it may hold what cannot be hashed, and equal ones may differ, as 1 and True do."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value
