# SPDX-License-Identifier: Apache-2.0
"""What a user of ngsildclient does with a hub: ``python ngsildclient_user.py PORT`` prints what came of it as JSON.

Run with the folder of clients on the path (``tests/clients.txt``), never within the tests themselves.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ngsildclient import AsyncClient, Client, Entity, NgsiAlreadyExistsError, SubscriptionBuilder
from ngsildclient.api.constants import AggrMethod
from ngsildclient.api.exceptions import NgsiApiError
from ngsildclient.api.helper.temporal import TemporalQuery

CONTEXT = "urn:ngsi-ld:jsonldContext:minamo-v1"
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"
SUBSCRIPTION = "urn:ngsi-ld:Subscription:level"


def river(name: str, level: float, minute: int = 0) -> Entity:
    """A river in the words of the client."""
    entity = Entity("WaterObserved", name, ctx=[CONTEXT, CORE])
    entity.prop("waterLevel", level, unitcode="MTR", observedat=datetime(2026, 6, 30, 23, minute, tzinfo=UTC))
    entity.prop("name", f"River {name}")
    entity.gprop("location", (34.9, 138.4))  # latitude first, as this client has it
    entity.rel("refDevice", f"Device:{name}")
    return entity


def fault_of(call: Callable[[], Any]) -> str:
    """The class of the error that ``call`` ends with."""
    try:
        call()
    except (NgsiApiError, NgsiAlreadyExistsError) as error:
        return type(error).__name__
    return "none"


def entities(client: Client) -> dict[str, Any]:
    """One entity from its creation to its end."""
    abe = river("abe", 1.5)
    told = {
        "connected": client.is_connected(),
        "created": client.create(abe),
        "created again": fault_of(lambda: client.create(abe)),
        "exists": [client.exists(abe), client.exists("WaterObserved:none")],
        "got": json.loads(client.get("WaterObserved:abe", ctx=CONTEXT).to_json()),
    }
    client.upsert(river("abe", 2.0, 10))
    client.update(river("abe", 2.5, 20))
    told["upserted, updated"] = client.get(abe, ctx=CONTEXT)["waterLevel"].value
    told["history"] = client.temporal.get(abe, attrs=["waterLevel"], ctx=CONTEXT)["waterLevel"]["values"]
    return told | {"deleted": client.delete(abe), "got after": fault_of(lambda: client.get(abe))}


def batches(client: Client) -> dict[str, Any]:
    """Many entities: the client sends 100 at once and asks for pages of 100."""
    many = [river(f"b{number}", number) for number in range(120)]
    query = {"type": "Query", "entities": [{"type": "WaterObserved"}], "q": "waterLevel>=100"}
    told = {
        "created": client.create(many).n_ok,
        "created again": client.create(many[:5]).n_err,
        "upserted": client.upsert(many[:10], update=True).n_ok,
        "updated": client.update(many[:10]).n_ok,
        "not overwritten": client.update(many[:10], overwrite=False).n_err,
        "counted": client.entities.count(type="WaterObserved", q="waterLevel>=20", ctx=CONTEXT),
        "queried": len(client.query(type="WaterObserved", q="waterLevel>=20", ctx=CONTEXT, limit=40)),
        "queried by POST": sorted(entity["waterLevel"].value for entity in client.alt.query(query, ctx=CONTEXT)),
        "types": client.types.list(),
    }
    since = TemporalQuery().after("2026-06-01T00:00:00Z")
    asked: dict[str, Any] = {"type": "WaterObserved", "q": "waterLevel==7", "ctx": CONTEXT, "tq": since}
    found = client.temporal.aggregate(**asked, attrs=["waterLevel"], methods=[AggrMethod.MAXIMUM]).result
    told["greatest"] = [evolution["waterLevel"]["max"][0][0] for evolution in found]
    told["deleted"] = client.delete(many[:50]).n_ok
    client.delete(many[50:])
    return told | {"left": client.entities.count(type="WaterObserved", ctx=CONTEXT)}


def subscriptions(client: Client) -> dict[str, Any]:
    """A subscription as the client builds it; its q is percent-encoded."""
    builder = SubscriptionBuilder("http://127.0.0.1:9/notify").id(SUBSCRIPTION).description("high water")
    built = builder.select_type("WaterObserved").watch(["waterLevel"]).query("waterLevel>1").context(CONTEXT).build()
    return {
        "created": client.subscriptions.create(built),
        "got": client.subscriptions.get(SUBSCRIPTION)["q"],
        "exists": [client.subscriptions.exists(SUBSCRIPTION), client.subscriptions.exists("urn:x:none")],
        "listed": [found["id"] for found in client.subscriptions.list("high")],
        "deleted": client.subscriptions.delete("high"),
        "left": client.subscriptions.list(),
    }


def contexts(client: Client) -> dict[str, Any]:
    """Contexts that the hub keeps."""
    before = client.contexts.list()
    client.contexts.add({"@context": {"paddyLevel": "https://example.org/paddyLevel"}})
    (added,) = set(client.contexts.list()) - set(before)
    name = added.rpartition("/")[2]
    told = {"got": client.contexts.get(name), "bundled": client.contexts.exists(CONTEXT)}
    return told | {"deleted": client.contexts.delete(name), "exists": client.contexts.exists(name)}


async def asynchronously(port: int) -> dict[str, Any]:
    """The same with the other of its two clients."""
    async with AsyncClient("127.0.0.1", port, tenant="async") as client:
        abe = river("abe", 1.5)
        told = {
            "created": await client.create(abe),
            "upserted": await client.upsert(river("abe", 2.0)),
            "got": (await client.get(abe, ctx=CONTEXT))["waterLevel"].value,
        }
        return told | {"deleted": await client.delete(abe), "exists": await client.exists(abe)}


def main(port: int) -> dict[str, Any]:
    """All of it."""
    told = {}
    for part in (entities, batches, subscriptions, contexts):
        with Client("127.0.0.1", port, tenant=part.__name__, verbose=False) as client:
            told[part.__name__] = part(client)
    return told | {"asynchronously": asyncio.run(asynchronously(port))}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    result = json.dumps(main(int(sys.argv[1])))
    sys.stdout.write(f"\n{result}\n")
