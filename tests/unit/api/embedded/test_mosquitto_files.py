# SPDX-License-Identifier: Apache-2.0
"""The files that mosquitto reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.embedded.mosquitto_files import (
    HUB_USER,
    MqttCredential,
    TlsListener,
    access_file,
    configuration,
    devices_in,
    password_file,
)
from api.embedded.passwords import hash_password

HASH = hash_password("x", salt=b"twelve bytes")
OTHER_HASH = hash_password("y", salt=b"twelve bytes")


def test_the_password_file_has_the_hub_and_each_device_once() -> None:
    devices = [MqttCredential("b", HASH), MqttCredential("a", HASH), MqttCredential("b", OTHER_HASH)]
    assert password_file(OTHER_HASH, devices).splitlines() == [
        f"{HUB_USER}:{OTHER_HASH}",
        f"a:{HASH}",
        f"b:{OTHER_HASH}",
    ]


def test_devices_are_read_back_without_the_hub() -> None:
    devices = [MqttCredential("a", HASH), MqttCredential("水位計1", OTHER_HASH)]
    assert devices_in(password_file(HASH, devices)) == devices


def test_lines_of_another_form_are_left_out() -> None:
    assert devices_in("# comment\n\na:clear text\n") == []


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "+", "a#", "a b", "a\nb", "x" * 129, HUB_USER])
def test_names_that_would_reach_beyond_their_own_topic_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="user name"):
        MqttCredential(name, HASH)


def test_a_password_in_the_clear_is_refused_and_not_repeated_in_the_message() -> None:
    with pytest.raises(ValueError, match="password hash") as caught:
        MqttCredential("a", "hunter2")
    assert "hunter2" not in str(caught.value)


def test_the_hash_does_not_show_in_logs() -> None:
    assert HASH not in repr(MqttCredential("a", HASH))


def test_nobody_connects_without_a_password() -> None:
    text = configuration(
        host="127.0.0.1",
        port=1883,
        config_folder=Path("/c"),
        data_folder=Path("/d"),
        receive_maximum=1,
        max_queued_messages=2,
        autosave_interval_s=3,
    )
    assert "allow_anonymous false" in text.splitlines()
    assert "listener 1883 127.0.0.1" in text.splitlines()


def test_device_with_an_address_may_publish_under_that_name() -> None:
    lines = access_file([MqttCredential("gauge", HASH, "key/weather7"), MqttCredential("b", HASH)]).splitlines()
    own = lines[lines.index("user gauge") :]
    assert "topic write /ul/key/weather7/attrs" in own
    assert not [line for line in own if "+/weather7" in line or "application" in line]
    assert "user b" not in lines


def test_address_without_an_api_key_holds_for_every_one_and_for_network_servers() -> None:
    lines = access_file([MqttCredential("gauge", HASH, "24e124")]).splitlines()
    assert {"topic write json/+/24e124/attrs", "topic write application/+/device/24e124/event/up"} <= set(lines)


@pytest.mark.parametrize("address", ["#", "+/x", "a/b/c", "a b", "x\nuser minamo-hub", ""])
def test_address_that_would_reach_beyond_its_own_topic_is_left_out(address: str) -> None:
    assert access_file([MqttCredential("gauge", HASH, address)]) == access_file([])


def test_addresses_are_read_back() -> None:
    devices = [MqttCredential("a", HASH, "key/x"), MqttCredential("b", HASH)]
    assert devices_in(password_file(HASH, devices), access_file(devices)) == devices


def test_listener_with_tls_has_its_certificate() -> None:
    text = configuration(
        host="127.0.0.1",
        port=1883,
        config_folder=Path("/c"),
        data_folder=Path("/d"),
        receive_maximum=1,
        max_queued_messages=2,
        autosave_interval_s=3,
        tls=TlsListener("::", 8883, Path("/c/certificate.pem"), Path("/c/key.pem")),
    )
    lines = text.splitlines()
    place = lines.index("listener 8883 ::")
    assert lines[place + 1 : place + 3] == ["certfile /c/certificate.pem", "keyfile /c/key.pem"]
    assert lines.index("listener 1883 127.0.0.1") < place
