# SPDX-License-Identifier: Apache-2.0
"""Term maps: what a context makes of names, and that PyLD would make the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyld import jsonld as pyld

from broker.contexts.active_context import process
from broker.contexts.jsonld import (
    ContextLimits,
    ContextResolver,
    TermMap,
    _Gathered,
    core_terms,
    is_name,
)
from broker.errors import BadRequestData, LdContextNotAvailable
from schemas.contexts import CORE_CONTEXTS, DATA_MODELS, MINAMO_CONTEXT
from schemas.terms import CORE_CONTEXT, DEFAULT_VOCABULARY, LOCATION, NGSI_LD

ENVIRONMENT = "https://raw.githubusercontent.com/smart-data-models/dataModel.Environment/master/context.jsonld"
WATER_LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
USER = {"waterLevel": "https://example.org/waterLevel", "ex": "https://example.org/ns#"}


class Documents:
    """A context loader over a dictionary that counts its calls."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents
        self.loaded: list[str] = []

    async def load(self, url: str) -> dict[str, Any]:
        self.loaded.append(url)
        if url not in self.documents:
            raise LdContextNotAvailable(f"@context {url} cannot be had")
        return self.documents[url]  # type: ignore[no-any-return]


async def resolve(context: Any, documents: dict[str, Any] | None = None, **options: Any) -> TermMap:
    return await ContextResolver(Documents(documents or {}), **options).resolve(context)


class TestExpansion:
    """5.5.7: short-hand strings are expanded to URIs with the user's context; unknown ones by the core's default."""

    async def test_a_term_of_the_user_context_expands_to_its_iri(self) -> None:
        assert (await resolve(USER)).expand_term("waterLevel") == "https://example.org/waterLevel"

    async def test_an_unknown_name_expands_into_the_default_vocabulary(self) -> None:
        assert (await resolve(USER)).expand_term("水位") == DEFAULT_VOCABULARY + "水位"

    async def test_a_prefixed_name_expands_with_the_prefix(self) -> None:
        assert (await resolve(USER)).expand_term("ex:flow") == "https://example.org/ns#flow"

    async def test_an_iri_stays_as_it_is(self) -> None:
        assert (await resolve(USER)).expand_term("https://other.org/x") == "https://other.org/x"

    @pytest.mark.parametrize("name", ["", "a b", "1x", "_x", "a-b", "a.b", "@x", "a:b c", ":x"])
    def test_names_outside_of_clause_4_6_2_are_refused(self, name: str) -> None:
        with pytest.raises(BadRequestData):
            core_terms().expand_term(name)

    @pytest.mark.parametrize("name", ["id", "type"])
    def test_aliases_of_keywords_are_no_names(self, name: str) -> None:
        with pytest.raises(BadRequestData):
            core_terms().expand_term(name)

    async def test_a_number_that_cannot_be_written_is_no_context(self) -> None:
        with pytest.raises(BadRequestData, match="cannot be written as JSON"):
            await resolve([{}, 2**70])

    async def test_a_term_mapped_to_null_cannot_be_used(self) -> None:
        terms = await resolve({"secret": None})
        with pytest.raises(BadRequestData):
            terms.expand_term("secret")

    def test_vocabulary_values_may_be_any_text(self) -> None:
        assert core_terms().expand_value_iri("Male person") == DEFAULT_VOCABULARY + "Male person"

    async def test_the_coercion_of_a_term_is_known(self) -> None:
        terms = await resolve({"refDevice": {"@id": "https://example.org/refDevice", "@type": "@id"}})
        assert terms.coercion("refDevice") == "@id"


class TestCompaction:
    """5.5.7: URIs are compacted to terms; in the event of no match fully qualified names are rendered."""

    async def test_an_iri_compacts_to_its_term(self) -> None:
        assert (await resolve(USER)).compact_iri("https://example.org/waterLevel") == "waterLevel"

    async def test_the_shortest_then_first_of_several_terms_is_taken(self) -> None:
        terms = await resolve({"level": "https://example.org/l", "lvl": "https://example.org/l"})
        assert terms.compact_iri("https://example.org/l") == "lvl"

    async def test_a_term_with_a_datatype_is_used_when_there_is_no_other(self) -> None:
        terms = await resolve({"dateObserved": {"@id": "https://example.org/d", "@type": "DateTime"}})
        assert terms.compact_iri("https://example.org/d") == "dateObserved"

    def test_the_default_vocabulary_is_left_out(self) -> None:
        assert core_terms().compact_iri(DEFAULT_VOCABULARY + "waterLevel") == "waterLevel"

    async def test_a_name_that_is_a_term_of_its_own_is_not_used_for_the_default_vocabulary(self) -> None:
        terms = await resolve(USER)
        assert terms.compact_iri(DEFAULT_VOCABULARY + "waterLevel") == "ngsi-ld:default-context/waterLevel"

    async def test_an_iri_without_a_term_is_written_with_its_prefix(self) -> None:
        assert (await resolve(USER)).compact_iri("https://example.org/ns#flow") == "ex:flow"

    def test_an_iri_without_any_match_stays_as_it_is(self) -> None:
        assert core_terms().compact_iri("https://example.org/x") == "https://example.org/x"

    @given(st.text(min_size=1).filter(is_name).filter(lambda name: name not in ("id", "type")))
    def test_expanding_and_compacting_gives_the_name_again(self, name: str) -> None:
        assert core_terms().compact_iri(core_terms().expand_term(name)) == name


class TestCoreContext:
    """4.4: the core context is protected and considered as if it were in the last position."""

    async def test_core_terms_cannot_be_overridden(self) -> None:
        assert (await resolve({"location": "https://example.org/location"})).expand_term("location") == LOCATION

    async def test_a_protected_user_context_cannot_keep_core_terms_out(self) -> None:
        terms = await resolve({"@protected": True, "location": "https://example.org/location"})
        assert terms.expand_term("location") == LOCATION

    async def test_the_default_vocabulary_cannot_be_overridden(self) -> None:
        assert (await resolve({"@vocab": "https://example.org/"})).expand_term("x") == DEFAULT_VOCABULARY + "x"

    @pytest.mark.parametrize("url", sorted(CORE_CONTEXTS))
    async def test_every_version_of_the_core_means_that_of_the_hub(self, url: str) -> None:
        assert (await resolve(url)).expand_term("ngsildproof") == NGSI_LD + "ngsildproof"

    @pytest.mark.parametrize("context", [None, [], CORE_CONTEXT, [CORE_CONTEXT], {}])
    async def test_without_a_user_context_the_core_is_used(self, context: Any) -> None:
        assert (await resolve(context)).expand_term("x") == DEFAULT_VOCABULARY + "x"

    async def test_the_user_context_may_stand_behind_the_core(self) -> None:
        assert (await resolve([CORE_CONTEXT, USER])).expand_term("waterLevel") == "https://example.org/waterLevel"


class TestResolving:
    async def test_bundled_contexts_need_no_loader(self) -> None:
        assert (await ContextResolver().resolve(ENVIRONMENT)).expand_term("waterLevel") == WATER_LEVEL

    async def test_the_minamo_context_has_the_terms_of_river_weather_and_alert(self) -> None:
        terms = await ContextResolver().resolve(MINAMO_CONTEXT)
        assert [terms.expand_term(name) for name in ("WaterObserved", "waterLevel", "precipitation", "Alert")] == [
            "https://smartdatamodels.org/dataModel.Environment/WaterObserved",
            WATER_LEVEL,
            "https://smartdatamodels.org/dataModel.Weather/precipitation",
            "https://smartdatamodels.org/dataModel.Alert/Alert",
        ]

    async def test_documents_that_name_documents_are_followed(self) -> None:
        documents = {"https://a.org/c/1": {"@context": ["2", {}]}, "https://a.org/c/2": {"@context": USER}}
        assert (await resolve("https://a.org/c/1", documents)).documents == set(documents)

    async def test_later_contexts_of_a_list_win(self) -> None:
        terms = await resolve([USER, {"waterLevel": "https://example.org/other"}])
        assert terms.expand_term("waterLevel") == "https://example.org/other"

    async def test_null_in_a_list_drops_what_is_before_it(self) -> None:
        assert (await resolve([USER, None])).expand_term("waterLevel") == DEFAULT_VOCABULARY + "waterLevel"

    async def test_a_resolved_context_is_loaded_once(self) -> None:
        loader = Documents({"https://a.org/c": {"@context": USER}})
        resolver = ContextResolver(loader)
        assert await resolver.resolve("https://a.org/c") is await resolver.resolve("https://a.org/c")

    async def test_equal_contexts_share_their_map_whatever_the_order_of_members(self) -> None:
        resolver = ContextResolver()
        assert await resolver.resolve(USER) is await resolver.resolve(dict(reversed(USER.items())))

    async def test_the_least_recently_used_map_goes_first(self) -> None:
        resolver = ContextResolver(size=2)
        first = await resolver.resolve({"a": "https://a.org/"})
        await resolver.resolve({"b": "https://b.org/"})
        await resolver.resolve({"a": "https://a.org/"})
        await resolver.resolve({"c": "https://c.org/"})
        assert await resolver.resolve({"a": "https://a.org/"}) is first

    async def test_a_forgotten_document_is_loaded_again(self) -> None:
        loader = Documents({"https://a.org/c": {"@context": USER}})
        resolver = ContextResolver(loader)
        await resolver.resolve(["https://a.org/c"])
        resolver.forget("https://a.org/c")
        await resolver.resolve(["https://a.org/c"])
        assert loader.loaded == ["https://a.org/c"] * 2

    async def test_a_failure_is_not_kept(self) -> None:
        loader = Documents({})
        resolver = ContextResolver(loader)
        with pytest.raises(LdContextNotAvailable):
            await resolver.resolve("https://a.org/c")
        loader.documents["https://a.org/c"] = {"@context": USER}
        assert (await resolver.resolve("https://a.org/c")).expand_term("waterLevel") == "https://example.org/waterLevel"


class Hosted:
    """The contexts that tenants store, by tenant and identifier."""

    def __init__(self, documents: dict[tuple[str, str], Any]) -> None:
        self.documents = documents

    async def find(self, local_id: str, tenant: str) -> dict[str, Any] | None:
        return self.documents.get((tenant, local_id))


class TestHostedContexts:
    NAME = "urn:ngsi-ld:jsonldContext:1"
    URL = "http://hub/ngsi-ld/v1/jsonldContexts/urn:ngsi-ld:jsonldContext:1"

    def resolver(self) -> ContextResolver:
        return ContextResolver(hosted=Hosted({("a", self.NAME): {"@context": USER}}))

    @pytest.mark.parametrize("url", [NAME, URL, "/ngsi-ld/v1/jsonldContexts/urn%3Angsi-ld%3AjsonldContext%3A1", [URL]])
    async def test_every_form_of_its_address_means_it(self, url: Any) -> None:
        assert (await self.resolver().resolve(url, "a")).expand_term("waterLevel") == "https://example.org/waterLevel"

    async def test_it_is_not_known_to_other_tenants(self) -> None:
        resolver = self.resolver()
        await resolver.resolve(self.URL, "a")
        with pytest.raises(LdContextNotAvailable):
            await resolver.resolve(self.URL, "b")

    async def test_it_is_forgotten_by_its_identifier(self) -> None:
        resolver = self.resolver()
        terms = await resolver.resolve(self.URL, "a")
        assert await resolver.resolve(self.URL, "a") is terms
        resolver.forget(self.NAME)
        assert await resolver.resolve(self.URL, "a") is not terms

    async def test_uses_of_stored_documents_are_counted(self) -> None:
        resolver = self.resolver()
        for context in (self.URL, [self.URL], MINAMO_CONTEXT, USER):
            await resolver.resolve(context, "a")
        uses = resolver.uses.take()
        assert {document.url: use.count for document, use in uses.items()} == {self.NAME: 2}
        resolver.uses.put_back(uses)
        assert resolver.uses.take() == uses

    async def test_a_document_that_changed_while_it_was_read_is_not_kept(self) -> None:
        class Changing(Hosted):
            async def find(self, local_id: str, tenant: str) -> dict[str, Any] | None:
                resolver.forget_stored()
                return await super().find(local_id, tenant)

        resolver = ContextResolver(hosted=Changing({("a", self.NAME): {"@context": USER}}))
        assert await resolver.resolve(self.URL, "a") is not await resolver.resolve(self.URL, "a")


class TestInvalidContexts:
    @pytest.mark.parametrize("context", [5, True, "not a url", [3], {"a": 5}, {"@vocab": 7}, {"a": {"@id": 3}}])
    async def test_what_is_no_context_is_bad_request_data(self, context: Any) -> None:
        with pytest.raises(BadRequestData):
            await resolve(context)

    async def test_scoped_contexts_are_refused(self) -> None:
        with pytest.raises(BadRequestData, match="scoped context"):
            await resolve({"Vehicle": {"@id": "https://example.org/V", "@context": {"speed": "https://e.org/s"}}})

    @pytest.mark.parametrize("document", [{}, [], "text", {"@context": 4}, {"@context": {"a": 5}}])
    async def test_a_document_that_is_no_context_is_bad_request_data(self, document: Any) -> None:
        with pytest.raises(BadRequestData):
            await resolve("https://a.org/c", {"https://a.org/c": document})

    async def test_a_context_that_names_itself_is_bad_request_data(self) -> None:
        with pytest.raises(BadRequestData, match="refers to itself"):
            await resolve("https://a.org/c", {"https://a.org/c": {"@context": "https://a.org/c"}})

    async def test_depth_is_limited(self) -> None:
        chain = {f"https://a.org/{n}": {"@context": f"https://a.org/{n + 1}"} for n in range(9)}
        with pytest.raises(LdContextNotAvailable, match="nested deeper than 6"):
            await resolve("https://a.org/0", chain)

    async def test_the_number_of_documents_is_limited(self) -> None:
        documents = {f"https://a.org/{n}": {"@context": {}} for n in range(4)}
        with pytest.raises(LdContextNotAvailable, match="more than 3 documents"):
            await resolve(list(documents), documents, limits=ContextLimits(max_documents=3))

    async def test_the_number_of_terms_is_limited(self) -> None:
        with pytest.raises(BadRequestData, match="more than 1 terms"):
            await resolve(USER, limits=ContextLimits(max_terms=1))


@pytest.fixture(params=[*DATA_MODELS, "core"])
async def pair(request: pytest.FixtureRequest) -> tuple[TermMap, dict[str, Any]]:
    """A term map and PyLD's active context of the same bundled context."""
    if request.param == "core":
        return core_terms(), dict(process([]))
    url = f"https://smart-data-models.github.io/{request.param}/context.jsonld"
    gathered = _Gathered()
    await ContextResolver()._gather(url, None, (), gathered)
    return await ContextResolver().resolve(url), dict(process(gathered.parts))


class TestAgreementWithPyld:
    def test_terms_expand_as_with_pyld(self, pair: tuple[TermMap, dict[str, Any]]) -> None:
        terms, active = pair
        names = [term for term, mapping in active["mappings"].items() if mapping and mapping["@id"][0] != "@"]
        processor = pyld.JsonLdProcessor()
        names += ["unknown", "ngsi-ld:unknown", "https://example.org/x"]
        assert {name: terms.expand_term(name) for name in names} == {
            name: processor._expand_iri(active, name, vocab=True) for name in names
        }

    def test_iris_compact_as_with_pyld(self, pair: tuple[TermMap, dict[str, Any]]) -> None:
        terms, active = pair
        iris = {
            mapping["@id"]
            for mapping in active["mappings"].values()
            if mapping
            and mapping["@id"][0] != "@"
            and mapping.get("@type") in (None, "@id")
            and "@container" not in mapping
        }
        iris |= {
            DEFAULT_VOCABULARY + "x",
            DEFAULT_VOCABULARY + "location",
            NGSI_LD + "unknown",
            "https://example.org/x",
        }
        processor = pyld.JsonLdProcessor()
        assert {iri: terms.compact_iri(iri) for iri in iris} == {
            iri: processor._compact_iri(active, iri, vocab=True) for iri in iris
        }
