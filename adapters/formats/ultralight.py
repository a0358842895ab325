# SPDX-License-Identifier: Apache-2.0
"""UltraLight 2.0, as FIWARE's IoT Agent takes it: ``t|23.5|h|80``, groups of measures parted by ``#``.

A group may begin with its time: ``2026-11-21T16:40:00Z|t|23.5``; else ``TimeInstant`` among the measures is it, and
without either the time of arrival holds. At ``.../attrs/<name>`` the payload is the one value. Commands
(``device@ping|...``) and their results are not measures: they are refused.
"""

from __future__ import annotations

import re
from typing import Final

from adapters.formats.device_times import read_time
from adapters.formats.documents import plain_value
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload, read_each

TIME_INSTANT: Final = "TimeInstant"
_COMMAND: Final = re.compile(r"[^|#@\s]+@[^|#@\s]+(\|.*)?", re.DOTALL)


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """One measurement for each group; raises :class:`UndecodablePayload`."""
    try:
        text = frame.payload.decode(profile.encoding).strip()
    except (ValueError, LookupError) as exc:
        raise UndecodablePayload(f"the payload is not text in {profile.encoding}: {exc}") from exc
    if frame.attribute is not None:
        return [Measurement(frame.received_at, {frame.attribute: plain_value(text)})]
    if _COMMAND.fullmatch(text.split("|", 1)[0]):
        raise UndecodablePayload("this is a command or its result; only measures are taken, commands are not supported")
    return read_each(enumerate(text.split("#"), 1), lambda group: _group(group, frame, profile), "group")


def _group(group: str, frame: Frame, profile: FormatProfile) -> Measurement:
    parts = [part.strip() for part in group.split("|")]
    if len(parts) < 2:
        raise UndecodablePayload(f"{group[:80]!r} has to be name|value|name|value...")
    time = parts.pop(0) if len(parts) % 2 else None
    values = {name: plain_value(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    if "" in values:
        raise UndecodablePayload("a value has no name")
    time = time or _text(values.pop(TIME_INSTANT, None))
    observed_at = frame.received_at if time is None else read_time(time, profile.time_zone)
    return Measurement(observed_at, values)


def _text(value: float | str | None) -> str | None:
    return None if value is None else str(value)
