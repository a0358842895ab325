# SPDX-License-Identifier: Apache-2.0
"""Keeping the entities of devices (type Device) up to date without a write for each message.

When a message came at all is written at most once in an interval; it goes into the entity and not into history. What
messages say of the device (battery, signal, counters) is written at most once in an interval too, by the time of
measurement, and at once when something changes that rarely does: its battery level, its firmware, its position.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from broker.device_state import DEVICE_STATE, DEVICE_TYPE, FAST_STATE, LAST_SEEN, DeviceState
from broker.devices import ON_CHANGE, PRESENT_ONLY, AttributeMapping, Device, state_device
from broker.readings import Observation
from broker.times import to_text

_SEEN: Final = AttributeMapping("dateLastValueReported", LAST_SEEN, kept=PRESENT_ONLY)
_STATE: Final = AttributeMapping("deviceState", DEVICE_STATE, kept=ON_CHANGE)


class _Known:
    """What was written last of one device."""

    __slots__ = ("measured", "seen", "slow")

    def __init__(self, seen: datetime) -> None:
        self.seen = seen
        self.measured: datetime | None = None
        self.slow: tuple[Any, ...] = ()


class DeviceStateKeeper:
    """Decides what is written of devices themselves; ``interval`` is how often at most.

    What it remembers is lost with the process, which costs one write a device.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._known: dict[str, _Known] = {}

    def kept(self, found: list[Observation], received_at: datetime) -> list[Observation]:
        """The observations of one message, with what is to be written of its device, and without what is not."""
        if not found:
            return found
        device = found[0].device
        known = self._known.get(device.key)
        is_due = known is None or received_at - known.seen >= self._interval
        if known is None:
            known = self._known[device.key] = _Known(received_at)
        if len(found) > 1 or device.entity_types[0] == DEVICE_TYPE:
            found = [observation for observation in found if self._is_kept(observation, known)]
        if is_due:
            known.seen = received_at
            found = [*found, _reported(device, received_at)]
        return found

    def _is_kept(self, observation: Observation, known: _Known) -> bool:
        if observation.device.entity_types[0] != DEVICE_TYPE:
            return True
        slow = tuple((m.field, value) for m, value in observation.values if m.field not in FAST_STATE)
        moment = observation.observed_at
        if known.measured is not None and slow == known.slow and abs(moment - known.measured) < self._interval:
            return False
        known.measured, known.slow = moment, slow
        return True


def _reported(device: Device, received_at: datetime) -> Observation:
    owner = device if device.entity_types[0] == DEVICE_TYPE else state_device(device)
    moment = {"@type": "DateTime", "@value": to_text(received_at)}
    return Observation(owner, received_at, ((_SEEN, moment), (_STATE, DeviceState.OK.value)))
