# SPDX-License-Identifier: Apache-2.0
"""Silence of devices: how long is too long, by what each should do, and when many fall silent together.

Pure: the same answers whenever and wherever they are worked out, from when each device was last heard. Whether silence
raises an alert is a matter of alert rules; this is what every device and station is shown as.

A device is ``late``, then ``silent``, then ``dead`` after so many of its expected intervals, which depend on its mode:
a gauge that sends once a day in low water and every ten minutes in high is late after two and a half days, or after
twenty-five minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from broker.devices.state import DeviceState
from schemas.terms import DEFAULT_VOCABULARY

RECEPTION: Final = DEFAULT_VOCABULARY + "reception"
"""Attribute of a station: how its sensor is heard; a state of a device, or :data:`FLOODED_UNKNOWN`."""
FLOODED_UNKNOWN: Final = "floodedUnknown"
"""Silent, and its silence says that it is under water; how deep, nobody knows."""
FEWEST: Final = 3
"""So many devices of a group that fall silent together are an event of the group."""
_BAD: Final = frozenset({DeviceState.LATE, DeviceState.SILENT, DeviceState.DEAD})


class Meaning(StrEnum):
    """What the silence of a sensor says of what it measures."""

    NOTHING = "nothing"
    FLOODED = "flooded"  # its radio does not work under water


class Limits(NamedTuple):
    """After how many expected intervals without a sign a device is late, silent, dead."""

    late: float = 2.5
    silent: float = 10.0
    dead: float = 100.0

    @classmethod
    def of(cls, late: float, said: tuple[float | None, float | None, float | None] = (None, None, None)) -> Limits:
        """Those that a profile ``said`` (late, silent, dead), else ``late``, four times that, forty times that."""
        first = said[0] or late
        second = said[1] or max(first, 4 * late)
        return cls(first, second, said[2] or max(second, 40 * late))

    def grade(self, quiet_for: timedelta, interval_s: float) -> DeviceState:
        """What silence for ``quiet_for`` makes of a device that should be heard every ``interval_s``."""
        intervals = quiet_for.total_seconds() / interval_s
        if intervals > self.dead:
            return DeviceState.DEAD
        if intervals > self.silent:
            return DeviceState.SILENT
        return DeviceState.LATE if intervals > self.late else DeviceState.OK

    def since(self, grade: DeviceState, heard_at: datetime, interval_s: float) -> datetime:
        """When a device last heard at ``heard_at`` came to be of ``grade``."""
        intervals = {DeviceState.LATE: self.late, DeviceState.SILENT: self.silent, DeviceState.DEAD: self.dead}
        return heard_at + timedelta(seconds=intervals.get(grade, 0.0) * interval_s)


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Watched:
    """A device as supervision sees it.

    ``heard_at``: the last sign of it, or the end of its maintenance, if that was later. ``interval_s``: of its present
    mode. ``group``: what it is heard through, such as a gateway.
    """

    key: str
    heard_at: datetime
    interval_s: float
    limits: Limits = DEFAULT_LIMITS
    group: str | None = None
    meaning: Meaning = Meaning.NOTHING

    def grade(self, now: datetime) -> DeviceState:
        """How it is."""
        return self.limits.grade(now - self.heard_at, self.interval_s)

    def since(self, grade: DeviceState) -> datetime:
        """From when on it is so."""
        return self.limits.since(grade, self.heard_at, self.interval_s)

    @property
    def patience(self) -> timedelta:
        """After which time without a sign it is late."""
        return timedelta(seconds=self.limits.late * self.interval_s)


class Verdict(NamedTuple):
    """How a device is, ``since`` when; ``group`` when all that is heard through it fell silent together."""

    state: DeviceState
    since: datetime
    group: str | None = None
    is_flood_sign: bool = False


class GroupSilence(NamedTuple):
    """A group of devices that fell silent together: the last sign of any of them, and which they are."""

    group: str
    since: datetime
    members: tuple[str, ...]


def supervise(
    devices: Sequence[Watched], now: datetime, *, share: float = 0.8
) -> tuple[dict[str, Verdict], dict[str, GroupSilence]]:
    """How each device is (by its key), and which groups are silent as a whole.

    A silence that says "flooded" says so once it is ``silent``, and not while its group is silent: then it is the
    gateway.
    """
    groups = silent_groups(devices, now, share=share)
    verdicts = {}
    for device in devices:
        state = device.grade(now)
        silence = groups.get(device.group or "")
        group = silence.group if silence is not None and device.key in silence.members else None
        sign = device.meaning is Meaning.FLOODED and group is None and state in (DeviceState.SILENT, DeviceState.DEAD)
        verdicts[device.key] = Verdict(state, device.since(state), group, sign)
    return verdicts, groups


def silent_groups(devices: Iterable[Watched], now: datetime, *, share: float = 0.8) -> dict[str, GroupSilence]:
    """The groups of which at least ``share`` fell silent together, and no fewer than :data:`FEWEST`."""
    by_group: dict[str, list[Watched]] = {}
    for device in devices:
        if device.group:
            by_group.setdefault(device.group, []).append(device)
    found = (_silence_of(group, members, now, share) for group, members in by_group.items())
    return {silence.group: silence for silence in found if silence is not None}


def _silence_of(group: str, members: Sequence[Watched], now: datetime, share: float) -> GroupSilence | None:
    """Whether ``members`` fell silent together.

    Together: within the patience of each, counted from the last sign of those that are overdue; who was silent long
    before is no part of it. Who was heard since then speaks against it; who is neither overdue nor heard, such as a
    sensor that reports once a day, says nothing.
    """
    overdue = [member for member in members if member.grade(now) in _BAD]
    if len(overdue) < FEWEST:
        return None
    last_sign = max(member.heard_at for member in overdue)
    together = [member for member in overdue if last_sign - member.heard_at <= member.patience]
    heard = [member for member in members if member.grade(now) not in _BAD and member.heard_at > last_sign]
    if len(together) < FEWEST or len(together) < share * (len(together) + len(heard)):
        return None
    return GroupSilence(group, last_sign, tuple(sorted(member.key for member in together)))


def heard(last_seen: datetime, maintenance: Iterable[tuple[datetime, datetime | None]], now: datetime) -> datetime:
    """From when on silence counts: the last sign, or the end of a maintenance (start, end) after it.

    While one lasts nothing counts.
    """
    counted = last_seen
    for start, end in maintenance:
        if start <= now:
            counted = max(counted, min(end or now, now))
    return counted
