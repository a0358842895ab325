# SPDX-License-Identifier: Apache-2.0
"""What topics tell, and that the filters subscribed to are those shapes."""

from __future__ import annotations

import pytest
from paho.mqtt.client import topic_matches_sub

from ingest.topics import TOPIC_FILTERS, Route, route_of


@pytest.mark.parametrize(
    ("topic", "route"),
    [
        ("minamo/v1/gauge/readings", Route(("gauge",))),
        ("/key/gauge/attrs", Route(("key/gauge", "gauge"), "fiware")),
        ("/key/gauge/attrs/level", Route(("key/gauge", "gauge"), "fiware", "level")),
        ("/ul/key/gauge/attrs", Route(("key/gauge", "gauge"), "ultralight")),
        ("ul/key/gauge/attrs/level", Route(("key/gauge", "gauge"), "ultralight", "level")),
        ("/json/key/gauge/attrs", Route(("key/gauge", "gauge"), "iot-agent-json")),
        ("v3/app@ttn/devices/gauge/up", Route(("gauge",), "things-stack")),
        ("application/7/device/1000000000000001/event/up", Route(("1000000000000001",), "chirpstack")),
    ],
)
def test_topic_names_device_format_and_attribute(topic: str, route: Route) -> None:
    assert route_of(topic) == route


@pytest.mark.parametrize("topic", ["/key/gauge/cmdexe", "/ul/key/gauge/configuration/commands"])
def test_commands_are_known_as_such(topic: str) -> None:
    route = route_of(topic)
    assert route is not None
    assert route.is_command


@pytest.mark.parametrize("topic_filter", TOPIC_FILTERS)
def test_what_is_subscribed_to_is_understood_and_comes_once(topic_filter: str) -> None:
    topic = topic_filter.replace("+", "some")
    assert route_of(topic) is not None
    assert [known for known in TOPIC_FILTERS if topic_matches_sub(known, topic)] == [topic_filter]
