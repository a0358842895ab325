# SPDX-License-Identifier: Apache-2.0
"""Parameters of the tests: what a profile says of one quantity, and what follows with the defaults of its kind.

The section ``quality`` of a profile, by field of the message::

    {"level": {"valid": [-0.5, 8.0], "spike": {"jump": 0.5, "within": 900}, "rate": {"change": 1.0, "seconds": 600},
               "stuck": {"after": 21600, "above": 1.2}, "gap": 1800, "late": 86400, "ahead": 60}}

A test that is ``false`` is not made; one that is not given has the default of the quantity's ``kind``. Values and
differences are in the unit of the stored value, times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from math import inf
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.quality.kinds import DEFAULTS, Bounds, Kind, change_in_unit, in_unit, kind_of

Positive = Annotated[float, Field(gt=0)]
Off = Literal[False]

LATE_S: Final = 86_400.0  # a day: gateways keep what they could not send
AHEAD_S: Final = 60.0  # what clocks of networks and servers differ


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Spike(_Model):
    """A difference of more than ``jump`` to a good value of at most ``within`` seconds ago."""

    jump: Positive
    within: Positive = 900.0


class Rate(_Model):
    """More than ``change`` in each ``seconds``."""

    change: Positive
    seconds: Positive = 600.0


class Stuck(_Model):
    """The same value for ``after`` seconds, while it is at or above ``above``."""

    after: Positive
    above: float | None = None


class QualityParameters(_Model):
    """What a profile says of one quantity; see the module. ``gross``: what can be, ``valid``: what is to be expected,
    both inclusive. ``gap``: a longer pause is one. ``late``: told of readings that arrive later. ``ahead``: how far
    the clock of the device may be."""

    kind: Kind | None = Field(default=None, strict=False)
    gross: tuple[float, float] | Off | None = None
    valid: tuple[float, float] | Off | None = None
    spike: Spike | Off | None = None
    rate: Rate | Off | None = None
    stuck: Stuck | Off | None = None
    gap: Positive | Off | None = None
    late: Positive | None = None
    ahead: Positive | None = None

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        for name in ("gross", "valid"):
            bounds = getattr(self, name)
            if bounds and bounds[0] > bounds[1]:
                raise ValueError(f"{name} begins above its end")
        return self


NOTHING_SAID: Final = QualityParameters()


class GapRule(NamedTuple):
    """From which pause on, in seconds, there is a gap: ``normal_s``, or after a value of at least ``start_level``
    (None: there is no such mode) ``active_s``."""

    normal_s: float
    active_s: float = 0.0
    start_level: float | None = None

    def after(self, value: float) -> float:
        """What a longer pause after ``value`` is."""
        return self.normal_s if self.start_level is None or value < self.start_level else self.active_s


class QuickChecks(NamedTuple):
    """What a reading after a good one has to keep to so that no test can find anything: bounds of the value, of its
    difference to the one before, of the pause, of the delay; and whether it may be the same as the one before."""

    low: float
    high: float
    step: float
    pause: timedelta
    least_delay: timedelta
    most_delay: timedelta
    may_stay: bool


@dataclass(frozen=True, slots=True)
class Checks:
    """The tests of one quantity, ready to be made; None: not made."""

    gross: Bounds | None = None
    valid: Bounds | None = None
    spike: tuple[float, float] | None = None  # jump, within_s
    rate: tuple[float, float] | None = None  # most, per_s
    stuck: tuple[float, float | None] | None = None  # after_s, above
    gap: GapRule | None = None
    late: timedelta = timedelta(seconds=LATE_S)
    ahead: timedelta = timedelta(seconds=AHEAD_S)
    quick: QuickChecks = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ranges = [bounds for bounds in (self.gross, self.valid) if bounds is not None]
        changes = [change[0] for change in (self.spike, self.rate) if change is not None]
        gap_s = None if self.gap is None else min(self.gap.normal_s, self.gap.after(inf))
        quick = QuickChecks(
            max((low for low, _ in ranges), default=-inf),
            min((high for _, high in ranges), default=inf),
            min(changes, default=inf),
            timedelta.max if gap_s is None else timedelta(seconds=gap_s),
            -self.ahead,
            self.late,
            self.stuck is None,
        )
        object.__setattr__(self, "quick", quick)


@lru_cache(maxsize=4096)
def checks_for(
    attribute: str, unit_code: str | None, said: QualityParameters | None = None, usual_gap: GapRule | None = None
) -> Checks:
    """The tests for values of ``attribute`` in ``unit_code``; ``usual_gap`` where ``said`` names no gap."""
    said = said or NOTHING_SAID
    kind = said.kind or kind_of(attribute, unit_code)
    defaults = DEFAULTS[kind]
    gap = usual_gap if said.gap is None else GapRule(said.gap) if said.gap else None
    return Checks(
        gross=_bounds(said.gross, defaults.get("gross"), kind, unit_code),
        valid=_bounds(said.valid, defaults.get("valid"), kind, unit_code),
        spike=(said.spike.jump, said.spike.within) if said.spike else _change(said.spike, "spike", kind, unit_code),
        rate=(said.rate.change, said.rate.seconds) if said.rate else _change(said.rate, "rate", kind, unit_code),
        stuck=(said.stuck.after, said.stuck.above) if said.stuck else _stuck(said.stuck, kind),
        gap=gap,
        late=timedelta(seconds=said.late or LATE_S),
        ahead=timedelta(seconds=said.ahead or AHEAD_S),
    )


def _bounds(said: Bounds | Off | None, default: Bounds | None, kind: Kind, unit_code: str | None) -> Bounds | None:
    if said is None:
        return None if default is None else in_unit(kind, default, unit_code)
    return said or None


def _change(said: object, name: str, kind: Kind, unit_code: str | None) -> tuple[float, float] | None:
    default = DEFAULTS[kind].get(name)
    if said is False or default is None:
        return None
    return change_in_unit(kind, default[0], unit_code), default[1]


def _stuck(said: object, kind: Kind) -> tuple[float, float | None] | None:
    default = DEFAULTS[kind].get("stuck")
    return None if said is False or default is None else (default, None)
