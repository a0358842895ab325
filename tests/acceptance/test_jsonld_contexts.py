# SPDX-License-Identifier: Apache-2.0
"""The hub as a server of contexts (clauses 5.13, 6.29 and 6.30), and what stored contexts mean to requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import httpx
import orjson
import pytest

from api.context_uses import ContextWatch
from api.hub import Hub
from broker.errors import LdContextNotAvailable
from broker.times import parse_time
from schemas.contexts import MINAMO_CONTEXT
from schemas.terms import CORE_CONTEXT
from support.hub import hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

CONTEXTS = "/ngsi-ld/v1/jsonldContexts"
ENTITIES = "/ngsi-ld/v1/entities"
QUERY = "/ngsi-ld/v1/entityOperations/query"
RIVER = {"level": "https://x.test/level"}
REL = 'rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, allow_private_endpoints=True) as opened:
        yield opened


class Web:
    """A server with one document, which may change or be taken away."""

    def __init__(self) -> None:
        self.document: Any = {"@context": RIVER}
        self.headers = b""
        self.asked = 0
        self.url = ""

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/context.jsonld"
        return server

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        status = b"404 Not Found" if self.document is None else b"200 OK"
        body = orjson.dumps(self.document)
        head = b"HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n"
        writer.write(head % (status, self.headers, len(body)) + body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    opened = Web()
    async with await opened.open():
        yield opened


async def add(client: httpx.AsyncClient, context: Any, **headers: str) -> str:
    """The path of a new hosted context."""
    response = await client.post(CONTEXTS, json={"@context": context}, headers=headers)
    assert (response.status_code, response.content) == (201, b""), response.text
    return response.headers["Location"]


async def attribute(client: httpx.AsyncClient, context: str, name: str = "level", **headers: str) -> str:
    """The IRI that ``context`` gives to ``name``: what the core context alone shows of an entity created with it."""
    entity = {"id": "urn:ngsi-ld:River:abe", "type": "River", name: 1}
    link = {"Link": f"<{context}>; {REL}", **headers}
    created = await client.post(ENTITIES, json=entity, headers=link)
    assert created.status_code == 201, created.text
    found = (await client.get(f"{ENTITIES}/{entity['id']}", headers=headers)).json()
    await client.delete(f"{ENTITIES}/{entity['id']}", headers=headers)
    return next(member for member in found if member not in ("id", "type"))


async def metadata(client: httpx.AsyncClient, name: str, **headers: str) -> Any:
    response = await client.get(f"{CONTEXTS}/{quote(name, safe='')}?details=true", headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def assert_problem(response: httpx.Response, status: int, name: str) -> None:
    assert (response.status_code, response.json()["type"].rpartition("/")[2]) == (status, name), response.text


class TestHosted:
    """5.13.1: "@contexts that are explicitly added by users ... shall be served by brokers on-demand"."""

    async def test_it_is_served_as_it_was_given(self, client: httpx.AsyncClient) -> None:
        response = await client.get(await add(client, [CORE_CONTEXT, RIVER]))
        assert response.json() == {"@context": [CORE_CONTEXT, RIVER]}
        assert response.headers["Content-Type"] == "application/json"

    @pytest.mark.parametrize("form", ["http://hub{}", "http://other.example{}", "{}"])
    async def test_requests_use_it_without_http(self, client: httpx.AsyncClient, form: str) -> None:
        assert await attribute(client, form.format(await add(client, RIVER))) == "https://x.test/level"

    async def test_it_may_name_other_contexts(self, client: httpx.AsyncClient, web: Web) -> None:
        path = await add(client, [web.url, {"other": "https://x.test/other"}])
        assert web.asked == 0
        assert await attribute(client, path) == "https://x.test/level"

    async def test_its_uses_are_counted(self, client: httpx.AsyncClient) -> None:
        path = await add(client, RIVER)
        name = path.removeprefix(CONTEXTS + "/")
        assert (await metadata(client, name))["numberOfHits"] == 0
        await attribute(client, path)
        shown = await metadata(client, name)
        assert (shown["numberOfHits"], shown["localId"], shown["kind"]) == (1, name, "Hosted")
        assert shown["URL"] == "http://hub" + path
        assert shown["createdAt"] <= shown["lastUsage"]

    @pytest.mark.parametrize("context", [42, True, None, ["https://x.test/a", 7], "no url", {"a": {"@id": 3}}])
    async def test_what_is_no_context_is_refused(self, client: httpx.AsyncClient, context: Any) -> None:
        assert_problem(await client.post(CONTEXTS, json={"@context": context}), 400, "BadRequestData")

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"level": "https://x.test/level"}'])
    async def test_a_body_without_a_context_is_invalid(self, client: httpx.AsyncClient, body: bytes) -> None:
        response = await client.post(CONTEXTS, content=body, headers={"Content-Type": "application/json"})
        assert_problem(response, 400, "InvalidRequest")

    async def test_it_belongs_to_its_tenant(self, client: httpx.AsyncClient) -> None:
        path = await add(client, RIVER, **{"NGSILD-Tenant": "shizuoka"})
        for method in ("GET", "DELETE"):
            assert_problem(await client.request(method, path), 404, "ResourceNotFound")
        assert path not in (await client.get(CONTEXTS)).text
        assert await attribute(client, path, **{"NGSILD-Tenant": "shizuoka"}) == "https://x.test/level"
        link = {"Link": f"<{path}>; {REL}"}
        assert_problem(await client.get(ENTITIES + "?local=true", headers=link), 504, "LdContextNotAvailable")


class TestDelete:
    async def test_a_deleted_context_is_gone_for_requests_too(self, client: httpx.AsyncClient) -> None:
        path = await add(client, RIVER)
        await attribute(client, path)
        assert (await client.delete(path)).status_code == 204
        assert_problem(await client.get(path), 404, "ResourceNotFound")
        link = {"Link": f"<{path}>; {REL}"}
        assert_problem(await client.get(ENTITIES + "?local=true", headers=link), 504, "LdContextNotAvailable")

    async def test_other_processes_drop_it_too(self, client: httpx.AsyncClient, database_url: str) -> None:
        path = await add(client, RIVER)
        async with hub_for(database_url) as other:
            watch = ContextWatch(other)
            await watch.look()
            assert (await other.contexts.resolve(path)).expand_term("level") == "https://x.test/level"
            await client.delete(path)
            await watch.look()
            with pytest.raises(LdContextNotAvailable):
                await other.contexts.resolve(path)

    @pytest.mark.parametrize(("query", "status"), [("", 404), ("?reload=false", 404), ("?reload=x", 400)])
    async def test_of_what_is_not_there(self, client: httpx.AsyncClient, query: str, status: int) -> None:
        assert (await client.delete(f"{CONTEXTS}/nothing{query}")).status_code == status

    async def test_a_hosted_context_cannot_be_reloaded(self, client: httpx.AsyncClient) -> None:
        path = await add(client, RIVER)
        assert_problem(await client.delete(path + "?reload=true"), 400, "BadRequestData")
        assert (await client.get(path)).status_code == 200


class TestCached:
    """5.13.1: "Entries flagged as Cached shall not be served by brokers on-demand"."""

    async def test_a_fetched_context_is_listed_and_not_served(self, client: httpx.AsyncClient, web: Web) -> None:
        await attribute(client, web.url)
        shown = await metadata(client, web.url)
        assert (shown["URL"], shown["kind"]) == (web.url, "Cached")
        assert web.url in (await client.get(CONTEXTS + "?kind=Cached")).json()
        assert web.url not in (await client.get(CONTEXTS + "?kind=Hosted")).json()
        assert_problem(await client.get(f"{CONTEXTS}/{shown['localId']}"), 422, "OperationNotSupported")

    async def test_all_tenants_share_it(self, client: httpx.AsyncClient, web: Web) -> None:
        await attribute(client, web.url, **{"NGSILD-Tenant": "shizuoka"})
        await attribute(client, web.url)
        assert web.asked == 1
        assert (await metadata(client, web.url, **{"NGSILD-Tenant": "nobody"}))["kind"] == "Cached"

    async def test_reload_replaces_it(self, client: httpx.AsyncClient, web: Web) -> None:
        await attribute(client, web.url)
        web.document = {"@context": {"level": "https://x.test/stage"}}
        assert await attribute(client, web.url) == "https://x.test/level"
        path = f"{CONTEXTS}/{quote(web.url, safe='')}"
        assert (await client.delete(path + "?reload=true")).status_code == 204
        assert await attribute(client, web.url) == "https://x.test/stage"

    @pytest.mark.parametrize("document", [None, {"error": "moved"}, {"@context": 5}])
    async def test_a_failed_reload_keeps_it(self, client: httpx.AsyncClient, web: Web, document: Any) -> None:
        await attribute(client, web.url)
        web.document = document
        path = f"{CONTEXTS}/{quote(web.url, safe='')}"
        assert_problem(await client.delete(path + "?reload=true"), 504, "LdContextNotAvailable")
        assert await attribute(client, web.url) == "https://x.test/level"

    async def test_a_deleted_copy_is_fetched_again(self, client: httpx.AsyncClient, web: Web) -> None:
        await attribute(client, web.url)
        assert (await client.delete(f"{CONTEXTS}/{quote(web.url, safe='')}")).status_code == 204
        await attribute(client, web.url)
        assert web.asked == 2

    async def test_its_server_tells_when_it_expires(self, client: httpx.AsyncClient, web: Web) -> None:
        """6.3.16: "Implementations shall comply with the Expires header field ... or a max-age"."""
        web.headers = b"Cache-Control: public, max-age=60\r\n"
        await attribute(client, web.url)
        shown = await metadata(client, web.url)
        assert parse_time(shown["expiresAt"]) - parse_time(shown["createdAt"]) == timedelta(seconds=60)

    async def test_what_is_there_but_no_context_is_bad_data(self, client: httpx.AsyncClient, web: Web) -> None:
        web.document = {"error": "moved"}
        link = {"Link": f"<{web.url}>; {REL}"}
        assert_problem(await client.get(ENTITIES + "?local=true", headers=link), 400, "BadRequestData")
        assert web.url not in (await client.get(CONTEXTS)).json()

    async def test_an_identifier_may_be_any_text(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.get(f"{CONTEXTS}/%00"), 404, "ResourceNotFound")


class TestBundled:
    async def test_the_hub_serves_its_own_list_of_contexts(self, client: httpx.AsyncClient) -> None:
        response = await client.get(f"{CONTEXTS}/{MINAMO_CONTEXT}")
        assert any("dataModel.Environment" in url for url in response.json()["@context"])
        iri = await attribute(client, f"http://hub{CONTEXTS}/{MINAMO_CONTEXT}", "waterLevel")
        assert iri == "https://smartdatamodels.org/dataModel.Environment/waterLevel"

    async def test_the_core_is_protected(self, client: httpx.AsyncClient) -> None:
        path = f"{CONTEXTS}/{quote(CORE_CONTEXT, safe='')}"
        assert_problem(await client.delete(path), 400, "BadRequestData")
        assert (await client.delete(path + "?reload=true")).status_code == 204
        assert (await metadata(client, CORE_CONTEXT))["kind"] == "Cached"


class TestImplicitlyCreated:
    """5.13.1: the broker "has to create a new @context that is an array, and it is going to be served"."""

    async def test_an_inline_context_of_a_subscription_gets_an_address(self, client: httpx.AsyncClient) -> None:
        context = [MINAMO_CONTEXT, RIVER]
        document = {
            "id": "urn:ngsi-ld:Subscription:1",
            "type": "Subscription",
            "entities": [{"type": "River"}],
            "notification": {"endpoint": {"uri": "http://127.0.0.1:1/notify"}},
            "@context": context,
        }
        headers = {"Content-Type": "application/ld+json"}
        created = await client.post("/ngsi-ld/v1/subscriptions", content=orjson.dumps(document), headers=headers)
        assert created.status_code == 201, created.text
        url = (await client.get(created.headers["Location"])).json()["jsonldContext"]
        assert (await client.get(url)).json() == {"@context": context}
        assert (await client.get(CONTEXTS + "?kind=ImplicitlyCreated")).json() == [url]

    async def test_a_query_by_post_gets_a_link_to_its_inline_context(self, client: httpx.AsyncClient) -> None:
        """6.3.6: "If the target response's MIME type is application/json such response shall include a Link"."""
        entity = {"id": "urn:ngsi-ld:River:abe", "type": "River", "https://x.test/level": 1}
        assert (await client.post(ENTITIES, json=entity)).status_code == 201
        query = {"type": "Query", "q": "level==1", "@context": [MINAMO_CONTEXT, RIVER]}
        headers = {"Content-Type": "application/ld+json", "Accept": "application/json"}
        for _ in range(2):
            response = await client.post(QUERY, content=orjson.dumps(query), headers=headers)
            assert response.json()[0]["level"] == {"type": "Property", "value": 1}
            url = response.links["http://www.w3.org/ns/json-ld#context"]["url"]
            assert (await client.get(url)).json() == {"@context": [MINAMO_CONTEXT, RIVER]}
        assert (await client.get(CONTEXTS + "?kind=ImplicitlyCreated")).json() == [url]

    async def test_what_nobody_asks_for_any_more_is_removed(self, hub: Hub) -> None:
        now = datetime.now(UTC)
        await hub.hosted_contexts.add_implicitly(1, [RIVER], now - timedelta(days=2))
        hosted = await hub.hosted_contexts.add(1, RIVER, now - timedelta(days=2))
        assert await hub.hosted_contexts.remove_unused(now - timedelta(days=1)) == 1
        assert (await hub.hosted_contexts.get(1, hosted)).document == {"@context": RIVER}

    @pytest.mark.parametrize("query", ["?kind=other", "?details=other", "?kind="])
    async def test_lists_know_their_parameters(self, client: httpx.AsyncClient, query: str) -> None:
        assert_problem(await client.get(CONTEXTS + query), 400, "BadRequestData")


class TestPages:
    """Clause 5.5.9: a list of contexts has pages as any other."""

    async def test_pages_follow_each_other(self, client: httpx.AsyncClient) -> None:
        for number in range(5):
            await client.post(CONTEXTS, json={"@context": {f"n{number}": f"https://x.test/{number}"}})
        whole = (await client.get(CONTEXTS, params={"kind": "Hosted"})).json()
        pages = [
            (await client.get(CONTEXTS, params={"kind": "Hosted", "limit": "2", "offset": str(offset)})).json()
            for offset in (0, 2, 4)
        ]
        assert [len(page) for page in pages] == [2, 2, 2]  # five, and the hub's own
        assert [url for page in pages for url in page] == whole

    async def test_links_and_count(self, client: httpx.AsyncClient) -> None:
        for number in range(3):
            await client.post(CONTEXTS, json={"@context": {f"n{number}": f"https://x.test/{number}"}})
        page = await client.get(
            CONTEXTS, params={"kind": "Hosted", "limit": "1", "offset": "1", "count": "true", "details": "true"}
        )
        assert page.headers["ngsild-results-count"] == "4"
        assert 'rel="prev"' in page.headers["link"]
        assert 'rel="next"' in page.headers["link"]


class TestTheHubsOwnApi:
    """``/api/v1`` takes contexts that the tenant hosts, and nobody else's."""

    RULE: ClassVar = {
        "name": {"en": "High"},
        "entities": {"type": "River"},
        "attribute": "level",
        "levels": [{"stage": "danger", "threshold": 5}],
    }

    async def test_a_rule_is_read_by_a_hosted_context_of_its_tenant(self, client: httpx.AsyncClient) -> None:
        tenant = {"NGSILD-Tenant": "aoi"}
        url = (await client.post(CONTEXTS, json={"@context": RIVER}, headers=tenant)).headers["location"]
        made = await client.put("/api/v1/alert-rules/high", json=self.RULE | {"@context": url}, headers=tenant)
        assert made.json()["attribute"] == "https://x.test/level"

    async def test_another_tenants_context_is_not_there(self, client: httpx.AsyncClient) -> None:
        url = (await client.post(CONTEXTS, json={"@context": RIVER})).headers["location"]
        tenant = {"NGSILD-Tenant": "aoi"}
        await client.post(ENTITIES, json={"id": "urn:x:1", "type": "T"}, headers=tenant)
        made = await client.put("/api/v1/alert-rules/high", json=self.RULE | {"@context": url}, headers=tenant)
        assert made.json()["type"].endswith("LdContextNotAvailable")
