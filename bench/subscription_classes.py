# SPDX-License-Identifier: Apache-2.0
"""The subscriptions of the measurement: eight classes that say the same in eight ways, "tell me of this station"."""

from __future__ import annotations

from typing import Any, Final

CLASSES: Final = ("id", "idPattern", "type", "value", "threshold", "place", "scope", "attribute")
_DEGREES: Final = 0.001  # between neighbours, about 100 m
_ROW: Final = 100


def entity_id(number: int) -> str:
    """The id of a station."""
    return f"urn:ngsi-ld:Gauge:{number:05}"


def watched(number: int) -> str:
    """The attribute that only this station has."""
    return f"level{number}"


def _point(number: int) -> list[float]:
    return [138.0 + number % _ROW * _DEGREES, 35.0 + number // _ROW * _DEGREES]


def entity(number: int) -> dict[str, Any]:
    """A station that each of the eight filters can tell from the others."""

    def prop(value: Any) -> dict[str, Any]:
        return {"type": "Property", "value": value}

    return {
        "id": entity_id(number),
        "type": ["Gauge", f"Gauge{number}"],
        "scope": f"/City/Station{number}",
        "name": prop(f"三島大橋 {number}"),
        "station": prop(f"S{number}"),
        "rank": prop(number),
        "level": prop(0),
        watched(number): prop(0),
        "battery": prop(3.61),
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": _point(number)}},
    }


def subscription(number: int, uri: str) -> dict[str, Any]:
    """A subscription to the station of this number, in the way of its class."""
    kind = CLASSES[number % len(CLASSES)]
    filters: dict[str, dict[str, Any]] = {
        "id": {"entities": [{"type": "Gauge", "id": entity_id(number)}]},
        "idPattern": {"entities": [{"type": "Gauge", "idPattern": f"^{entity_id(number)}(:.*)?$"}]},
        "type": {"entities": [{"type": f"Gauge{number}"}]},
        "value": {"entities": [{"type": "Gauge"}], "q": f'station=="S{number}"'},
        "threshold": {"entities": [{"type": "Gauge"}], "q": f"rank>={number};rank<={number}"},
        "place": {
            "entities": [{"type": "Gauge"}],
            "geoQ": {"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": _point(number)},
        },
        "scope": {"entities": [{"type": "Gauge"}], "scopeQ": f"/City/Station{number}"},
        "attribute": {"watchedAttributes": [watched(number)]},
    }
    return {
        "type": "Subscription",
        **({} if kind == "attribute" else {"watchedAttributes": ["level"]}),
        **filters[kind],
        "notificationTrigger": ["attributeUpdated"],
        "notification": {"endpoint": {"uri": uri}},
    }
