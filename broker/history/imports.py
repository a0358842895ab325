# SPDX-License-Identifier: Apache-2.0
"""A part of a history file on its way into the hub: rows that were understood, and those that were not.

Most rows are plain numbers: they stay columns all the way into the database. Others are instances like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from broker.entities import Instance


class Series(NamedTuple):
    """What a row is of, apart from its time and value. ``types`` and ``attribute`` are IRIs; an empty ``source`` is
    the API; ``dataset`` is ``@none`` for the default one."""

    entity_id: str
    types: tuple[str, ...]
    attribute: str
    dataset: str
    kind: str
    source: str
    unit_code: str | None
    quality: str | None


class Believed(NamedTuple):
    """Since when and until when a hub believed a row, in the file of that hub."""

    recorded_at: datetime
    superseded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numeric Properties that were observed, as columns of equal length: place of the row in the part of the file,
    place of its series in :attr:`Part.series`, microseconds since 1970, value."""

    rows: Sequence[int] = ()
    series: Sequence[int] = ()
    times_us: Sequence[int] = ()
    values: Sequence[float] = ()
    believed: Sequence[Believed] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Other:
    """Any other row. ``at`` is its place in time (see ``observed``); without an ``instance`` the attribute was removed
    then. ``observed``: somebody observed it at that time, rather than the hub having learned of it then."""

    row: int
    series: int
    at: datetime
    observed: bool
    instance: Instance | None
    believed: Believed | None = None


class Rejected(NamedTuple):
    """A row that is not imported: its place in the part of the file, a word for programs, a sentence for people."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Part:
    """What was read of a part of a file of ``count`` rows."""

    count: int
    series: Sequence[Series]
    numbers: Numbers
    others: Sequence[Other] = ()
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, slots=True)
class ImportRules:
    """``create``: entities that are not there are made. ``as_recorded``: rows are a copy of another hub's history and
    keep the times at which that one believed them. ``dry_run``: everything is done and taken back."""

    create: bool = False
    as_recorded: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class ImportResult:
    """What became of the rows of a part."""

    rows: int = 0
    new: int = 0
    repeated: int = 0
    corrections: int = 0
    current: int = 0
    """Attributes whose current value changed, because the file has a newer one."""
    created: list[str] = field(default_factory=list)
    """Ids of entities that were made."""
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, other: ImportResult) -> None:
        """Count what became of the next part of the same file too."""
        self.rejected += [fault._replace(row=fault.row + self.rows) for fault in other.rejected]
        self.rows += other.rows
        self.new += other.new
        self.repeated += other.repeated
        self.corrections += other.corrections
        self.current += other.current
        self.created += other.created
