# SPDX-License-Identifier: Apache-2.0
"""MQTT URIs (clause 7.2)."""

from __future__ import annotations

import pytest

from adapters.channels.mqtt import MqttTarget, read_target
from adapters.web.guard import ForbiddenDestination


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("mqtt://h/a/b", MqttTarget("h", 1883, False, None, "a/b")),
        ("mqtts://h/a", MqttTarget("h", 8883, True, None, "a")),
        ("mqtt://me%40x@h:99/a%20b", MqttTarget("h", 99, False, "me@x", "a b")),
        ("mqtt://[::1]/%E6%B0%B4%E4%BD%8D", MqttTarget("::1", 1883, False, None, "水位")),
    ],
)
def test_target(uri: str, target: MqttTarget) -> None:
    assert read_target(uri) == target


@pytest.mark.parametrize(
    "uri",
    ["mqtt://h", "mqtt://h/", "mqtt://h/a/#", "mqtt://h/%2B/b", "mqtt://h/$SYS/x", "mqtt:///a", "mqtt://h/a?b", "mqtt://h:x/a",
     "http://h/a", "mqtt://h/" + "a" * 70_000],
)  # fmt: skip
def test_what_is_no_target_is_refused(uri: str) -> None:
    with pytest.raises(ForbiddenDestination):
        read_target(uri)
