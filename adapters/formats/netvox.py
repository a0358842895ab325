# SPDX-License-Identifier: Apache-2.0
"""Sensors of Netvox: version, device type, report type, then the fields of that report."""

from __future__ import annotations

from typing import Any, Final

from broker.intake.readings import UndecodablePayload

_R718WB: Final = 0x12
_DATA_PORT: Final = 6
_CONFIGURATION: Final = {0x81: "configReportRsp", 0x82: "readConfigReportRsp"}


def decode_r718wb(payload: bytes, port: int | None) -> dict[str, Any]:
    """Water leak by a rope: battery in volts and leak; the answers to configuration at port 7.

    Raises :class:`UndecodablePayload`.
    """
    if len(payload) < 5 or payload[1] != _R718WB:
        raise UndecodablePayload(f"this is no report of an R718WB: {payload[:5].hex()}")
    if port not in (None, _DATA_PORT):
        return _configuration(payload)
    if payload[2] == 0:
        return {"firmware_version": str(payload[3] / 10), "hardware_version": str(payload[4])}
    if payload[2] != 1:
        raise UndecodablePayload(f"report type {payload[2]} of an R718WB is not known")
    low = bool(payload[3] & 0x80)
    found = {"battery_voltage": (payload[3] & 0x7F) / 10, "water_leak": "leak" if payload[4] else "no leak"}
    return {**found, "low_battery": True} if low else found


def _configuration(payload: bytes) -> dict[str, Any]:
    command = _CONFIGURATION.get(payload[0])
    if command is None:
        raise UndecodablePayload(f"command {payload[0]:#04x} of an R718WB is not known")
    if payload[0] == 0x81:
        return {"cmd": command, "status": "success" if payload[2] == 0 else "failure"}
    if len(payload) < 7:
        raise UndecodablePayload(f"the answer is cut off; it has {len(payload)} bytes")
    times = int.from_bytes(payload[2:4], "big"), int.from_bytes(payload[4:6], "big")
    return {"cmd": command, "minTime": times[0], "maxTime": times[1], "batteryChange": payload[6] / 10}
