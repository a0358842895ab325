# SPDX-License-Identifier: Apache-2.0
"""What messages say of the device itself: battery, radio, counters. It becomes an NGSI-LD entity of type Device."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

DEVICE_TYPE: Final = "https://smartdatamodels.org/dataModel.Device/Device"
MODEL: Final = "https://smartdatamodels.org/dataModel.Device/"
OWNER: Final = MODEL + "controlledAsset"  # of the Device entity: the entity its readings are of
_OWN: Final = "https://uri.etsi.org/ngsi-ld/default-context/"

BATTERY: Final = MODEL + "batteryLevel"  # 0 to 1
RSSI: Final = MODEL + "rssi"  # dBm
LAST_SEEN: Final = MODEL + "dateLastValueReported"  # when a message of it came, whatever it said
DEVICE_STATE: Final = MODEL + "deviceState"


class DeviceState(StrEnum):
    """How a device is: ``ok`` when it reports as expected; ``late``, ``silent`` and ``dead`` as it stays away."""

    OK = "ok"
    LATE = "late"
    SILENT = "silent"
    DEAD = "dead"


# name in Measurement.state -> (attribute, unit by UN/CEFACT)
STATE_ATTRIBUTES: Final[Mapping[str, tuple[str, str | None]]] = {
    "batteryLevel": (BATTERY, None),  # 0 to 1, as the Smart Data Model says
    "batteryVoltage": (_OWN + "batteryVoltage", "VLT"),
    "rssi": (RSSI, "DBM"),
    "snr": (_OWN + "snr", "2N"),
    "gateway": (_OWN + "gateway", None),  # the one that heard it best
    "gatewayCount": (_OWN + "gatewayCount", "C62"),
    "frameCounter": (_OWN + "frameCounter", "C62"),
    "framePort": (_OWN + "framePort", None),
    "frequency": (_OWN + "frequency", "HTZ"),
    "spreadingFactor": (_OWN + "spreadingFactor", None),
    "devEui": (_OWN + "devEui", None),
    "firmwareVersion": (MODEL + "firmwareVersion", None),
    "hardwareVersion": (MODEL + "hardwareVersion", None),
    "serialNumber": (MODEL + "serialNumber", None),
    "position": (_OWN + "position", None),  # "normal" or "tilt"
}

# Of these, what differs with each message.
FAST_STATE: Final = frozenset({"batteryVoltage", "rssi", "snr", "gateway", "gatewayCount", "frameCounter"}) | {
    "frequency",
    "spreadingFactor",
}

# quantities of codecs that are state too: name of the quantity -> (name of the state, factor)
_QUANTITIES: Final[Mapping[str, tuple[str, float | None]]] = {
    "battery": ("batteryLevel", 0.01),  # percent
    "battery_voltage": ("batteryVoltage", 1.0),
    "position": ("position", None),
    "firmware_version": ("firmwareVersion", None),
    "hardware_version": ("hardwareVersion", None),
    "serial_number": ("serialNumber", None),
}
# Quantities that tell of the device or of the message alone: they need no mapping.
STATE_QUANTITIES: Final = frozenset(_QUANTITIES) | {
    *("protocol_version", "decentlab_id", "power", "reset", "lorawan_class", "tsl_version", "low_battery"),
    *("cmd", "status", "minTime", "maxTime", "batteryChange"),
}


def state_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The state among ``values`` of a codec; a battery level is a share of 1."""
    found: dict[str, Any] = {}
    for name in _QUANTITIES.keys() & values.keys():
        (state, factor), value = _QUANTITIES[name], values[name]
        if factor is None:
            if isinstance(value, str):
                found[state] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[state] = round(value * factor, 6)
    return found
