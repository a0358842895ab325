# SPDX-License-Identifier: Apache-2.0
"""Webhooks that get every alert: signed when the city wants it, so that nobody else can raise one there."""

from __future__ import annotations

import pytest
from test_contacts import City, delivering

from adapters.channels.signing import signature_headers
from support.hub import client_for, hub_for
from support.receiver import Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

SECRET = "0123456789abcdef"


@pytest.mark.parametrize("secret", [None, SECRET], ids=["plain", "signed"])
async def test_alert_is_signed_with_the_secret_of_the_setting(
    database_url: str, receiver: Receiver, secret: str | None
) -> None:
    settings = {"alert_webhooks": [receiver.url], "alert_webhook_secret": secret}
    async with hub_for(database_url, **settings) as hub, client_for(hub) as client:
        city = City(hub, client)
        await city.put_rule()
        await city.measure("urn:ngsi-ld:WaterObserved:bridge", 0, 1.5)
        async with delivering(city):
            await eventually(lambda: bool(receiver.accepted))
    (request,) = receiver.accepted
    signature = request.headers.get("webhook-signature")
    if secret is None:
        assert signature is None
    else:
        sent = (request.headers["webhook-id"], int(request.headers["webhook-timestamp"]))
        assert signature == signature_headers(secret, *sent, request.body)["Webhook-Signature"]
