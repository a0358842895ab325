# SPDX-License-Identifier: Apache-2.0
"""How long history is kept: by tier, tenant and type of entity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Final

from broker.errors import BadRequestData

ALL_TYPES: Final = ""
"""In the place of a type: all types without a rule of their own."""
_SHORTEST_RAW: Final = 2  # days; the day before today may still be on its way into the rollups


@dataclass(frozen=True, slots=True)
class Kept:
    """Days that each tier is kept: instances, 10 minutes, hours, days; None: for ever. Coarser ones no shorter."""

    raw: int | None = None
    ten_minutes: int | None = None
    hours: int | None = None
    days: int | None = None

    def __post_init__(self) -> None:
        tiers = [float("inf") if tier is None else tier for tier in astuple(self)]
        if tiers[0] < _SHORTEST_RAW or sorted(tiers) != tiers:
            raise BadRequestData(
                f"Instances are kept {_SHORTEST_RAW} days or longer, and no tier shorter than the finer one before it"
            )

    def longest(self, other: Kept) -> Kept:
        """What satisfies both."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Kept(*(None if one is None or two is None else max(one, two) for one, two in pairs))


def kept_for(types: Iterable[str], rules: Mapping[str, Kept], default: Kept) -> Kept:
    """How long the history of an entity with these types is kept: what the longest of its types says."""
    otherwise = rules.get(ALL_TYPES, default)
    found = [rules.get(name, otherwise) for name in types] or [otherwise]
    longest = found[0]
    for rule in found[1:]:
        longest = longest.longest(rule)
    return longest
