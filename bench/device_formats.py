# SPDX-License-Identifier: Apache-2.0
"""The same level in each format that devices send in, and what a device that sends so is registered with."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from broker.intake.formats import DEFAULT_PROFILE, FormatProfile

_CODEC: Final = "milesight/EM500-UDL"
_BATTERY: Final = bytes([0x01, 0x75, 98])  # percent
_GATEWAY: Final = {"rssi": -97, "snr": 7.5}


@dataclass(frozen=True, slots=True)
class DeviceFormat:
    """``profile`` of the device; ``message`` makes a payload of (moment, level in metres, number). Where ``in_mm`` the
    quantity is ``distance``, whole millimetres, else it is ``level``."""

    profile: FormatProfile
    message: Callable[[datetime, float, int], bytes]
    in_mm: bool = False

    @property
    def field(self) -> str:
        """The name of the quantity."""
        return "distance" if self.in_mm else "level"

    @property
    def factor(self) -> float:
        """What the quantity is multiplied with to give metres."""
        return 0.001 if self.in_mm else 1.0

    def stored(self, level: float) -> float:
        """What is to be stored of ``level``."""
        return round(level * 1000) * self.factor if self.in_mm else level


def _json(moment: datetime, level: float, number: int) -> bytes:
    document = {"time": _text(moment), "level": level, "battery": 3.61, "temperature": 12.5, "rssi": -71}
    return orjson.dumps({**document, "sequence": number})


def _senml(moment: datetime, level: float, _number: int) -> bytes:
    records = [{"n": "level", "u": "m", "v": level}, {"n": "battery", "u": "V", "v": 3.61}]
    records += [{"n": "temperature", "u": "Cel", "v": 12.5}, {"n": "rssi", "u": "dBm", "v": -71}]
    return orjson.dumps([{"bn": "urn:dev:bench:", "bt": moment.timestamp(), **records[0]}, *records[1:]])


def _ultralight(moment: datetime, level: float, number: int) -> bytes:
    return f"{_text(moment)}|level|{level}|battery|3.61|temperature|12.5|rssi|-71|sequence|{number}".encode()


def _iot_agent_json(moment: datetime, level: float, number: int) -> bytes:
    document = {"TimeInstant": _text(moment), "level": level, "battery": 3.61, "temperature": 12.5, "rssi": -71}
    return orjson.dumps({**document, "sequence": number})


def _csv(moment: datetime, level: float, _number: int) -> bytes:
    return f"{_text(moment)},{level},3.61,12.5,-71".encode()


def _things_stack(moment: datetime, level: float, number: int) -> bytes:
    uplink = {
        "f_port": 85,
        "f_cnt": number,
        "frm_payload": _frame(level),
        "rx_metadata": [{"gateway_ids": {"gateway_id": "roof"}, **_GATEWAY}],
        "settings": {"data_rate": {"lora": {"spreading_factor": 7}}, "frequency": "923200000"},
        "received_at": _text(moment),
    }
    return orjson.dumps({"end_device_ids": {"device_id": "d", "dev_eui": "24E124713C000000"}, "uplink_message": uplink})


def _chirpstack(moment: datetime, level: float, number: int) -> bytes:
    document = {
        "deviceInfo": {"deviceName": "d", "devEui": "24e124713c000000"},
        "time": _text(moment),
        "fCnt": number,
        "fPort": 85,
        "data": _frame(level),
        "rxInfo": [{"gatewayId": "24e124fffe000000", **_GATEWAY}],
        "txInfo": {"frequency": 923200000, "modulation": {"lora": {"spreadingFactor": 7}}},
    }
    return orjson.dumps(document)


def _frame(level: float) -> str:
    """The bytes of the sensor: battery and distance."""
    distance = bytes([0x03, 0x82]) + struct.pack("<H", round(level * 1000))
    return base64.b64encode(_BATTERY + distance).decode()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _profile(name: str, **members: Any) -> FormatProfile:
    return FormatProfile(name, **members)


FORMATS: Final[Mapping[str, DeviceFormat]] = {
    "json": DeviceFormat(DEFAULT_PROFILE, _json),
    "senml": DeviceFormat(_profile("senml"), _senml),
    "ultralight": DeviceFormat(_profile("ultralight"), _ultralight),
    "iot-agent-json": DeviceFormat(_profile("iot-agent-json"), _iot_agent_json),
    "csv": DeviceFormat(_profile("csv", columns=("time", "level", "battery", "temperature", "rssi")), _csv),
    "things-stack": DeviceFormat(_profile("things-stack", codec=_CODEC), _things_stack, in_mm=True),
    "chirpstack": DeviceFormat(_profile("chirpstack", codec=_CODEC), _chirpstack, in_mm=True),
}
