# SPDX-License-Identifier: Apache-2.0
"""Running a replay against a hub: register the devices and rules by its API, then publish over MQTT."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from api.cli.hub_client import HubClient
from api.replay.device import SimulatedDevice
from api.replay.hydrographs import Sample, Station, backfill, plan
from broker.times import to_text

_READINGS_PER_MESSAGE: Final = 100
_FLUSH_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """``speed`` times as fast as recorded; ``backfill`` is how much of the record before the flood comes first.

    It ends after ``limit`` live readings, or when ``is_wanted`` (asked before each) says no.
    """

    speed: float = 60.0
    backfill: timedelta = timedelta(hours=48)
    limit: int | None = None
    is_wanted: Callable[[], bool] = lambda: True


def replay(
    hub: HubClient,
    mqtt_host: str,
    mqtt_port: int,
    stations: Sequence[Station],
    options: ReplayOptions,
    report: Callable[[str], None],
) -> int:
    """Replay ``stations``; returns how many readings were published. Blocks until the record ends.

    Times are compressed: a sample is measured when it is published, so the river is live. What speaks of time in
    the stations' registrations and rules (interval, time to clear) is compressed alike.
    """
    devices = [_start(hub, mqtt_host, mqtt_port, station, options.speed) for station in stations]
    try:
        count = _backfill(devices, stations, options, report)
        return count + _live(devices, stations, options, report)
    finally:
        for device in devices:
            device.close()


def _start(hub: HubClient, host: str, port: int, station: Station, speed: float) -> SimulatedDevice:
    document = {**station.device, "expectedInterval": station.step.total_seconds() / speed, "newPassword": True}
    credentials = hub.put(f"/api/v1/devices/{station.device_id}", document)["mqtt"]
    if station.rule is not None:
        rule = _rule(station, speed)
        hub.put(f"/api/v1/alert-rules/{rule['id']}", rule)
    return SimulatedDevice(host, port, credentials["username"], credentials["password"])


def _rule(station: Station, speed: float) -> dict[str, Any]:
    rule = dict(station.rule or {})
    rule.setdefault("id", f"{station.device_id}-level")
    rule["clearAfter"] = rule.get("clearAfter", 1800) / speed
    rule["entities"] = {"ids": [station.device["entityId"]]}
    rule["attribute"] = station.device["attributes"][0]["attribute"]
    return rule


def _backfill(
    devices: Sequence[SimulatedDevice],
    stations: Sequence[Station],
    options: ReplayOptions,
    report: Callable[[str], None],
) -> int:
    now = datetime.now(UTC) - timedelta(seconds=1)
    count = 0
    for device, station in zip(devices, stations, strict=True):
        samples = backfill(station, options.backfill, now)
        for start in range(0, len(samples), _READINGS_PER_MESSAGE):
            readings = [_reading(station, sample) for sample in samples[start : start + _READINGS_PER_MESSAGE]]
            device.publish(readings)
            count += len(readings)
    for device in devices:
        device.flush(_FLUSH_S)
    hours = options.backfill.total_seconds() / 3600
    report(f"{hours:g} h of record before the flood: {count} readings / 出水前の記録 {hours:g} 時間: {count} 件")
    return count


def _live(
    devices: Sequence[SimulatedDevice],
    stations: Sequence[Station],
    options: ReplayOptions,
    report: Callable[[str], None],
) -> int:
    report(f"live, {options.speed:g} times as fast / 再生中（{options.speed:g} 倍速）")
    began = time.monotonic()
    count = 0
    for planned in plan(stations, options.speed):
        if options.limit is not None and count >= options.limit:
            break
        wait = planned.after.total_seconds() - (time.monotonic() - began)
        if wait > 0:
            time.sleep(wait)
        if not options.is_wanted():
            break
        station = stations[planned.station]
        moment = Sample(datetime.now(UTC), planned.sample.value)
        devices[planned.station].publish(_reading(station, moment))
        for device in devices:
            device.resend_old()
        count += 1
    for device in devices:
        device.flush(_FLUSH_S)
    return count


def _reading(station: Station, sample: Sample) -> dict[str, Any]:
    return {"time": to_text(sample.time), station.field: sample.value}
