# SPDX-License-Identifier: Apache-2.0
"""Keeping the entities of devices (type Device) up to date without a write for each message.

When a message came at all is written at most once in an interval; it goes into the entity and not into history. What
messages say of the device (battery, signal, counters) is written at most once in an interval too, by the time of
measurement, and at once when something changes that rarely does: its battery level, its firmware, its position.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from broker.devices.model import ON_CHANGE, PRESENT_ONLY, AttributeMapping, Device, state_device
from broker.devices.state import DEVICE_STATE, DEVICE_TYPE, FAST_STATE, LAST_SEEN, DeviceState
from broker.intake.readings import Observation
from broker.times import to_text

_SEEN: Final = AttributeMapping("dateLastValueReported", LAST_SEEN, kept=PRESENT_ONLY)
_STATE: Final = AttributeMapping("deviceState", DEVICE_STATE, kept=ON_CHANGE)


class _Known(NamedTuple):
    """What was written last of one device: when a message of it had come, when its state was measured, and what of
    that rarely changes."""

    seen: datetime
    measured: datetime
    slow: Mapping[str, Any]


_NEVER: Final = _Known(datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), {})


class DeviceStateKeeper:
    """Decides what is written of devices themselves; ``interval`` is how often at most.

    What it remembers is lost with the process, which costs one write a device.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._known: dict[str, _Known] = {}

    def wants(self, device: Device, state: Mapping[str, Any], observed_at: datetime, received_at: datetime) -> bool:
        """Whether ``state``, which a message says of its ``device``, is to be written; if so, it counts as written."""
        known = self._known.setdefault(device.key, _NEVER)
        slow = {name: value for name, value in state.items() if name not in FAST_STATE}
        if (
            slow == known.slow
            and received_at - known.seen < self._interval
            and -self._interval < observed_at - known.measured < self._interval
        ):
            return False
        self._known[device.key] = known._replace(measured=observed_at, slow=slow)
        return True

    def kept(self, found: list[Observation], received_at: datetime) -> list[Observation]:
        """The observations of one message, and when it is time for it that there was one."""
        if not found:
            return found
        device = found[0].device
        known = self._known.get(device.key, _NEVER)
        if received_at - known.seen < self._interval:
            return found
        self._known[device.key] = known._replace(seen=received_at)
        return [*found, _reported(device, received_at)]


def _reported(device: Device, received_at: datetime) -> Observation:
    owner = device if device.entity_types[0] == DEVICE_TYPE else state_device(device)
    moment = {"@type": "DateTime", "@value": to_text(received_at)}
    return Observation(owner, received_at, ((_SEEN, moment), (_STATE, DeviceState.OK.value)))
