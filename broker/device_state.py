# SPDX-License-Identifier: Apache-2.0
"""What messages say of the device itself: battery, radio, counters. It becomes an NGSI-LD entity of type Device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEVICE_TYPE: Final = "https://smartdatamodels.org/dataModel.Device/Device"
_MODEL: Final = "https://smartdatamodels.org/dataModel.Device/"
OWNER: Final = _MODEL + "controlledAsset"  # of the Device entity: the entity its readings are of
_OWN: Final = "https://uri.etsi.org/ngsi-ld/default-context/"

# name in Measurement.state -> (attribute, unit by UN/CEFACT)
STATE_ATTRIBUTES: Final[Mapping[str, tuple[str, str | None]]] = {
    "batteryLevel": (_MODEL + "batteryLevel", None),  # 0 to 1, as the Smart Data Model says
    "batteryVoltage": (_OWN + "batteryVoltage", "VLT"),
    "rssi": (_MODEL + "rssi", "DBM"),
    "snr": (_OWN + "snr", "2N"),
    "gateway": (_OWN + "gateway", None),  # the one that heard it best
    "gatewayCount": (_OWN + "gatewayCount", "C62"),
    "frameCounter": (_OWN + "frameCounter", "C62"),
    "framePort": (_OWN + "framePort", None),
    "frequency": (_OWN + "frequency", "HTZ"),
    "spreadingFactor": (_OWN + "spreadingFactor", None),
    "devEui": (_OWN + "devEui", None),
    "firmwareVersion": (_MODEL + "firmwareVersion", None),
    "hardwareVersion": (_MODEL + "hardwareVersion", None),
    "serialNumber": (_MODEL + "serialNumber", None),
    "position": (_OWN + "position", None),  # "normal" or "tilt"
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
    for name, (state, factor) in _QUANTITIES.items():
        value = values.get(name)
        if factor is None:
            if isinstance(value, str):
                found[state] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[state] = round(value * factor, 6)
    return found
