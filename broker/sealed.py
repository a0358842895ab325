# SPDX-License-Identifier: Apache-2.0
"""Texts that may be stored sealed. Whoever has no key passes them on as they are; they are opened to be sent."""

from __future__ import annotations

from typing import TypeAlias

Stored: TypeAlias = str | dict[str, str]
"""A text, or a sealed one: an object with the member ``sealed``, which no text can be taken for."""


def plain(one: Stored) -> str:
    """A text that has been opened; raises ``TypeError`` for one that has not."""
    if not isinstance(one, str):
        raise TypeError("a sealed text has to be opened before it is used")
    return one
