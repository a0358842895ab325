# SPDX-License-Identifier: Apache-2.0
"""The profile of a device: what is expected of it, beyond how its messages are read.

A profile is one JSON object, part of a registration or of a device model, with a section for each subject::

    {"expectedInterval": {"normal": 86400, "active": 600, "startLevel": 2.5}}

A section is a model of its own here, all of its members optional or with a default, so that an old profile stays valid
when a section comes. Members are in camelCase in JSON and in snake_case in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from broker.devices.silence import Limits, Meaning
from broker.quality.parameters import GapRule, QualityParameters
from broker.sections import Section, read_document, write_document

Seconds = Annotated[float, Field(gt=0)]


class ExpectedInterval(Section):
    """How often a reading should come, in seconds, by mode.

    ``normal`` always holds where ``active`` is not given. A 危機管理型水位計 sends once a day in low water and every
    ten minutes from its 観測開始水位 on: ``active`` holds while the last known value of ``field`` (by default that of
    the device's first mapping) is at or above ``start_level``, in the unit in which it is stored.
    """

    normal: Seconds
    active: Seconds | None = None
    start_level: float | None = None
    field: str | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.active is None) != (self.start_level is None):
            raise ValueError("active and startLevel belong together")
        return self

    def at(self, value: float | None) -> float:
        """The interval in seconds after a reading of ``value``; None: it is not known."""
        if self.active is None or self.start_level is None or value is None:
            return self.normal
        return self.active if value >= self.start_level else self.normal


class SilenceRules(Section):
    """When silence of the device is too long, and what it says; see :mod:`broker.devices.silence`.

    ``late``, ``silent`` and ``dead`` are numbers of expected intervals. ``means``: what silence says of what is
    measured. ``group``: what the device is heard through, where that is not the gateway that its messages name.
    """

    late: Annotated[float, Field(gt=0)] | None = None
    silent: Annotated[float, Field(gt=0)] | None = None
    dead: Annotated[float, Field(gt=0)] | None = None
    means: Meaning = Field(default=Meaning.NOTHING, strict=False)
    group: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    def limits(self, late: float) -> Limits:
        """After how many intervals it is late, silent, dead; ``late`` is that of the hub."""
        return Limits.of(late, (self.late, self.silent, self.dead))

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        given = [limit for limit in (self.late, self.silent, self.dead) if limit is not None]
        if given != sorted(given):
            raise ValueError("late, silent and dead have to ascend")
        return self


GAP_INTERVALS: Final = 3.0
"""A pause of more than so many expected intervals is a gap, where a profile does not say otherwise."""


class DeviceProfile(Section):
    """The sections of a profile; what is not given is not known."""

    expected_interval: ExpectedInterval | None = None
    quality: dict[str, QualityParameters] = Field(default_factory=dict)
    """Parameters of the tests of readings, by field of the message (:mod:`broker.quality.parameters`)."""
    silence: SilenceRules = SilenceRules()

    def document(self) -> dict[str, Any]:
        """The JSON form, without members that have their default."""
        return write_document(self)

    def usual_gap(self, field: str, first_field: str) -> GapRule | None:
        """From which pause on there is a gap in the readings of ``field``; None: nothing is expected."""
        interval = self.expected_interval
        if interval is None:
            return None
        gap = GapRule(interval.normal * GAP_INTERVALS)
        if interval.active is None or field != (interval.field or first_field):
            return gap
        return GapRule(gap.normal_s, interval.active * GAP_INTERVALS, interval.start_level)


NO_PROFILE: Final = DeviceProfile()


def parse_device_profile(document: Any, path: str = "device.profile") -> DeviceProfile:
    """Read a profile from its JSON form. Raises :class:`BadRequestData` with the place of what is wrong first."""
    if not document and (document is None or isinstance(document, dict)):
        return NO_PROFILE
    return read_document(DeviceProfile, document, path)


def with_normal_interval(document: Mapping[str, Any] | None, seconds: float | None) -> dict[str, Any]:
    """The JSON form of a profile with this interval in its normal mode; None leaves it as it is."""
    changed = dict(document or {})
    if seconds is not None:
        interval = changed.get("expectedInterval")
        changed["expectedInterval"] = {**(interval if isinstance(interval, dict) else {}), "normal": seconds}
    return changed
