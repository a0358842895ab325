# SPDX-License-Identifier: Apache-2.0
"""Notifications that are signed, and those by MQTT; what is secret about them is in no answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from api.hub import Hub
from support.hub import hub_for
from support.mqtt_broker import Broker
from support.notifying import SUBSCRIPTIONS, create, running, set_level, subscribe
from support.receiver import Received, Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

SECRET = "correct horse battery"
SIGNED = {"notifierInfo": [{"key": "Minamo-Secret", "value": SECRET}]}
TOPIC = "minamo/v1/gauge/receipts"


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, worker_poll_ms=20, delivery_backoff_max_s=1) as hub:
        yield hub


@pytest.fixture
async def workers(hub: Hub) -> AsyncIterator[None]:
    async with running(hub):
        yield


def endpoint(uri: str, **members: Any) -> dict[str, Any]:
    return {"endpoint": {"uri": uri, **members}}


def is_signed(request: Received, secret: str = SECRET) -> bool:
    """As a receiver checks it (docs/app-developers.md)."""
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    digest = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{digest}"


async def test_notification_is_signed_when_a_secret_is_set(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    await subscribe(client, receiver.url, notification=endpoint(receiver.url, **SIGNED))
    await create(client)
    (request,) = await receiver.wait_for(1)
    assert is_signed(request)
    assert request.headers["webhook-id"] == request.headers["minamo-delivery-id"]


async def test_secret_survives_updates_and_is_never_returned(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    subscription_id = await subscribe(client, receiver.url, notification=endpoint(receiver.url, **SIGNED))
    path = f"{SUBSCRIPTIONS}/{subscription_id}"
    shown = (await client.get(path)).json()["notification"]
    response = await client.patch(path, json={"notification": shown})
    assert response.status_code == 204
    assert SECRET not in (await client.get(path)).text + (await client.get(SUBSCRIPTIONS)).text
    await create(client)
    (request,) = await receiver.wait_for(1)
    assert is_signed(request)


async def test_other_secret_holds_for_what_was_not_delivered_yet(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    receiver.status = 500
    subscription_id = await subscribe(client, receiver.url, notification=endpoint(receiver.url, **SIGNED))
    await create(client)
    await eventually(lambda: len(receiver.received) > 0)
    new = {"notifierInfo": [{"key": "Minamo-Secret", "value": SECRET.upper()}]}
    await client.patch(f"{SUBSCRIPTIONS}/{subscription_id}", json={"notification": endpoint(receiver.url, **new)})
    receiver.status = 200
    (request,) = await receiver.wait_for(1)
    assert is_signed(request, SECRET.upper())


class Listener:
    """A subscriber of :data:`TOPIC`."""

    def __init__(self, broker: Broker) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self.subscribed = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "listener", protocol=mqtt.MQTTv5)
        self._client.username_pw_set(broker.hub.username, broker.hub.password)
        self._client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=2)
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.connect_async(broker.hub.host, broker.hub.port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def levels(self) -> list[float]:
        """In the order of arrival, each once."""
        bodies = [json.loads(message.payload)["body"] for message in self.messages]
        return list(dict.fromkeys(body["data"][0]["level"]["value"] for body in bodies))


@pytest.fixture
async def listener(mosquitto: Broker) -> AsyncIterator[Listener]:
    listening = Listener(mosquitto)
    await eventually(lambda: listening.subscribed)
    yield listening
    listening.close()


def mqtt_uri(broker: Broker, password: bool = True) -> str:
    credentials = f"{broker.hub.username}:{broker.hub.password}" if password else broker.hub.username
    return f"mqtt://{credentials}@{broker.hub.host}:{broker.hub.port}/{TOPIC}"


async def test_notification_by_mqtt(
    client: httpx.AsyncClient, workers: None, mosquitto: Broker, listener: Listener
) -> None:
    info = {"receiverInfo": [{"key": "Flood-Desk", "value": "Mishima"}], **SIGNED}
    subscription_id = await subscribe(client, "", notification=endpoint(mqtt_uri(mosquitto), **info))
    await create(client, 1, 2.5)
    await eventually(lambda: len(listener.messages) == 1)
    message = listener.messages[0]
    told = json.loads(message.payload)
    assert told["body"]["subscriptionId"] == subscription_id
    assert told["metadata"].items() >= {"Content-Type": "application/json", "Flood-Desk": "Mishima"}.items()
    assert message.properties is not None
    properties = {name.lower(): value for name, value in message.properties.UserProperty}
    assert properties["minamo-sequence"] == told["metadata"]["Minamo-Sequence"] == "1"
    assert is_signed(Received("", "", properties, message.payload))


async def test_password_of_the_uri_is_never_returned(client: httpx.AsyncClient, mosquitto: Broker) -> None:
    subscription_id = await subscribe(client, "", notification=endpoint(mqtt_uri(mosquitto)))
    shown = (await client.get(f"{SUBSCRIPTIONS}/{subscription_id}")).json()
    assert shown["notification"]["endpoint"]["uri"] == mqtt_uri(mosquitto, password=False)


async def test_mqtt_broker_that_was_restarted_gets_everything_in_order(
    client: httpx.AsyncClient, workers: None, mosquitto: Broker, listener: Listener
) -> None:
    await subscribe(client, "", notification=endpoint(mqtt_uri(mosquitto)))
    entity_id = await create(client, 1, 0)
    await eventually(lambda: listener.levels() == [0])
    listener.subscribed = False
    mosquitto.kill()
    await eventually(lambda: listener.subscribed, timeout_s=30)
    for level in range(1, 6):
        await set_level(client, entity_id, level)
    await eventually(lambda: listener.levels() == [0, 1, 2, 3, 4, 5], timeout_s=30)
