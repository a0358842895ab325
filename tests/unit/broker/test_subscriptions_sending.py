# SPDX-License-Identifier: Apache-2.0
"""How notifications are sent (clauses 5.2.15 and 7.2), and that secrets are written and never read."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import BadRequestData
from broker.subscriptions import Sending, take_sending

URI = "mqtt://user@broker.example.org:1883/a/b"
SECRET = "correct horse battery"


def document(uri: str = URI, *info: tuple[str, str], **endpoint: Any) -> dict[str, Any]:
    if info:
        endpoint["notifierInfo"] = [{"key": key, "value": value} for key, value in info]
    return {"notification": {"endpoint": {"uri": uri, **endpoint}}}


def test_password_leaves_the_uri() -> None:
    taken, sending = take_sending(document("mqtt://user:p%40ss@broker.example.org:1883/a/b"))
    assert (taken, sending) == (document(), Sending(password="p@ss"))


def test_secret_leaves_the_notifier_info() -> None:
    taken, sending = take_sending(document(URI, ("Minamo-Secret", SECRET), ("MQTT-QoS", "2")))
    assert (taken, sending) == (document(URI, ("MQTT-QoS", "2")), Sending(secret=SECRET, qos=2))


def test_endpoint_that_stays_keeps_its_secrets() -> None:
    before = (document(), Sending(password="p", secret=SECRET, qos=2))
    _, sending = take_sending(document(URI, ("MQTT-QoS", "0")), before)
    assert sending == Sending(password="p", secret=SECRET, qos=0)


def test_other_endpoint_gets_no_secrets_of_the_old_one() -> None:
    _, sending = take_sending(document("http://elsewhere.example.org/"), (document(), Sending(secret=SECRET)))
    assert sending == Sending()


def test_empty_secret_ends_signing() -> None:
    _, sending = take_sending(document(URI, ("Minamo-Secret", "")), (document(), Sending(secret=SECRET)))
    assert sending.secret is None


def test_binding_of_http_passes_mqtt_options_over() -> None:
    _, sending = take_sending(document("http://example.org/", ("MQTT-QoS", "7"), timeout=500, cooldown=1000))
    assert sending == Sending(timeout_ms=500, cooldown_ms=1000)


@pytest.mark.parametrize(
    "info",
    [
        [("MQTT-QoS", "3")],
        [("MQTT-Version", "mqtt4")],
        [("Minamo-Secret", "short")],
        [("Minamo-Secret", SECRET), ("MQTT-Version", "mqtt3.1.1")],
    ],
)
def test_what_the_binding_does_not_know_is_refused(info: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequestData, match="notifierInfo"):
        take_sending(document(URI, *info))


@pytest.mark.parametrize("sending", [Sending(), Sending(password="p", qos=0), Sending(cooldown_ms=5.5)])
def test_stored_form_reads_back(sending: Sending) -> None:
    assert Sending.from_stored(sending.to_stored()) == sending
