# SPDX-License-Identifier: Apache-2.0
"""The tiers of rollups: 10 minutes, 1 hour, 1 day, in UTC; each is composed of the one before.

A day in another time zone is composed of hours, as long as its offset is whole hours (of 10 minutes otherwise).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString

from context_store.history.partitions import PartitionScheme

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Where the counting of buckets begins; a midnight, so that days and hours begin where they should."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One table of rollups; ``length`` is that of its buckets."""

    name: LiteralString
    table: LiteralString
    length: timedelta

    @property
    def interval(self) -> LiteralString:
        """The length in SQL."""
        return _INTERVALS[self.name]

    def floor(self, moment: datetime) -> datetime:
        """The begin of the bucket that ``moment`` is in."""
        return moment - (moment - EPOCH) % self.length

    def ceil(self, moment: datetime) -> datetime:
        """The begin of the first bucket that does not begin before ``moment``."""
        return moment + (EPOCH - moment) % self.length

    def holds(self, moment: datetime) -> bool:
        """Whether a bucket begins at ``moment``."""
        return not (moment - EPOCH) % self.length

    @property
    def partitions(self) -> PartitionScheme | None:
        """How the table is cut; days are too few to be."""
        return None if self.name == "1d" else PartitionScheme(self.table, "year")


_INTERVALS: Final[dict[LiteralString, LiteralString]] = {
    "10m": "interval '10 minutes'",
    "1h": "interval '1 hour'",
    "1d": "interval '1 day'",
}
TEN_MINUTES: Final = Tier("10m", "rollup_10m", timedelta(minutes=10))
HOUR: Final = Tier("1h", "rollup_1h", timedelta(hours=1))
DAY: Final = Tier("1d", "rollup_1d", timedelta(days=1))
TIERS: Final = (TEN_MINUTES, HOUR, DAY)
