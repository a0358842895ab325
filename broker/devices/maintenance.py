# SPDX-License-Identifier: Apache-2.0
"""Maintenance of devices: the times in which what a device sends is kept, and believed by nobody."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from broker.errors import BadRequestData
from broker.times import parse_time, to_text

if TYPE_CHECKING:
    from broker.devices.model import Device

_MEMBERS = frozenset({"id", "from", "until", "reason"})
MAX_REASON = 1000  # characters
MAX_WINDOWS = 200  # of one device


class MaintenanceWindow(NamedTuple):
    """From ``start`` (inclusive) until ``end`` (exclusive; None: until somebody ends it), and why."""

    window_id: str
    start: datetime
    end: datetime | None
    reason: str

    def covers(self, moment: datetime) -> bool:
        """Whether ``moment`` lies in it."""
        return self.start <= moment and (self.end is None or moment < self.end)

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "id": self.window_id,
            "from": to_text(self.start),
            "until": None if self.end is None else to_text(self.end),
            "reason": self.reason,
        }


def in_maintenance(device: Device, moment: datetime) -> MaintenanceWindow | None:
    """The maintenance that ``device`` is in at ``moment`` (when it measured, not when that was learned), if any."""
    return next((window for window in device.maintenance if window.covers(moment)), None)


def parse_window(document: Any, window_id: str, now: datetime) -> MaintenanceWindow:
    """Read a window from its JSON form: ``from`` (default: ``now``), ``until`` (null: open) and ``reason``.

    Raises :class:`BadRequestData`.
    """
    if not isinstance(document, dict):
        raise BadRequestData(f"maintenance is {document!r}; it has to be an object")
    if unknown := sorted(set(document) - _MEMBERS):
        raise BadRequestData(f"maintenance.{unknown[0]} is not known; the members are from, until, reason")
    start = _moment(document.get("from"), "from") or now
    end = _moment(document.get("until"), "until")
    if end is not None and end <= start:
        raise BadRequestData(f"maintenance.until ({to_text(end)}) is not after from ({to_text(start)})")
    reason = document.get("reason")
    if not isinstance(reason, str) or not reason.strip() or len(reason) > MAX_REASON:
        raise BadRequestData(f"maintenance.reason is a text of 1 to {MAX_REASON} characters: what is done, and by whom")
    return MaintenanceWindow(window_id, start, end, reason)


def stored_window(document: dict[str, Any]) -> MaintenanceWindow:
    """A window as it is stored."""
    until = document["until"]
    return MaintenanceWindow(
        document["id"],
        datetime.fromisoformat(document["from"]),
        None if until is None else datetime.fromisoformat(until),
        document["reason"],
    )


def _moment(value: Any, name: str) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_time(value)
    except (TypeError, ValueError, AttributeError) as exc:
        raise BadRequestData(f"maintenance.{name} is {value!r}; it has to be a time with an offset") from exc
