# SPDX-License-Identifier: Apache-2.0
"""Topics the hub listens to: its own, those of FIWARE's IoT Agents, The Things Stack and ChirpStack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

TOPIC_PREFIX: Final = "minamo/v1/"
OWN_TOPICS: Final = "minamo/v1/+/readings"
FIWARE: Final = "fiware"  # UltraLight or JSON: the profile says which, else the message itself

# Filters as mosquitto and the hub's subscription take them; no two of them match one topic.
TOPIC_FILTERS: Final = (
    OWN_TOPICS,
    *(
        f"{prefix}+/+/{ending}"
        for prefix in ("/", "/ul/", "/json/", "ul/", "json/")
        for ending in ("attrs", "attrs/+", "cmdexe", "configuration/commands")
    ),
    "v3/+/devices/+/up",
    "application/+/device/+/event/up",
)


def filters_of_member(group: str | None, filters: Sequence[str]) -> tuple[str, ...]:
    """``filters`` as a member of ``group`` subscribes to them (MQTT 5, 4.8.2); None: alone."""
    return tuple(filters) if group is None else tuple(f"$share/{group}/{wanted}" for wanted in filters)


def own_topic(key: str) -> str:
    """Where the device with this key publishes, in the hub's own way."""
    return f"{TOPIC_PREFIX}{key}/readings"


class Route(NamedTuple):
    """What a topic tells: by which names the device may be known (the first that is holds), the format it implies,
    the one attribute it names, and whether its messages are about commands (results, requests for the configuration),
    which are no readings."""

    addresses: tuple[str, ...]
    format: str | None = None
    attribute: str | None = None
    is_command: bool = False


_OWN: Final = re.compile(r"minamo/v1/(?P<device>[^/]+)/readings")
_FIWARE: Final = re.compile(
    r"(?:/|/?(?P<protocol>ul|json)/)(?P<apikey>[^/]+)/(?P<device>[^/]+)"
    r"/(?:attrs(?:/(?P<attribute>[^/]+))?|(?P<command>cmdexe|configuration/commands))"
)
_THINGS_STACK: Final = re.compile(r"v3/[^/]+/devices/(?P<device>[^/]+)/up")
_CHIRPSTACK: Final = re.compile(r"application/[^/]+/device/(?P<device>[^/]+)/event/up")
_PROTOCOLS: Final = {"ul": "ultralight", "json": "iot-agent-json", None: FIWARE}


@lru_cache(maxsize=10_000)
def route_of(topic: str) -> Route | None:
    """What ``topic`` tells; None when it is none of the shapes above."""
    if found := _OWN.fullmatch(topic):
        return Route((found["device"],))
    if found := _FIWARE.fullmatch(topic):
        addresses = (f"{found['apikey']}/{found['device']}", found["device"])
        return Route(addresses, _PROTOCOLS[found["protocol"]], found["attribute"], bool(found["command"]))
    if found := _THINGS_STACK.fullmatch(topic):
        return Route((found["device"],), "things-stack")
    if found := _CHIRPSTACK.fullmatch(topic):
        return Route((found["device"],), "chirpstack")
    return None


@lru_cache(maxsize=10_000)
def device_name(topic: str) -> str:
    """What ``topic`` calls the device, without API keys: the same for all topics of it but those of another network."""
    route = route_of(topic)
    return topic if route is None else route.addresses[-1]
