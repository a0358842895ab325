# SPDX-License-Identifier: Apache-2.0
"""JSON-LD contexts as term maps (clauses 4.4 and 5.5.7).

PyLD processes a context once; what the hub keeps of it is a :class:`TermMap`, plain dictionaries from names to IRIs
and back. Expanding or compacting an entity is then a walk with dictionary look-ups, and PyLD never runs per request.

The core context always has the last word: it is applied after the user's, so neither its terms nor its default
vocabulary can be changed, and every version of it named in a user's ``@context`` means the one the hub works with.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import urljoin

import orjson
from pyld import jsonld as pyld

from broker.contexts.active_context import process
from broker.contexts.uses import ContextUses, StoredDocument
from broker.errors import BadRequestData, LdContextNotAvailable
from broker.ports import ContextLoader, HostedContextFinder
from schemas.contexts import bundled_contexts, hosted_id, is_core_context

_NAME: Final = re.compile(r"\w+")  # clause 4.6.2; \w is exactly Unicode letters, numbers and "_"
# What nobody can see or copy: characters that Unicode lets a display ignore (bidirectional controls, which RFC 3987
# forbids in 4.1, zero-width ones, variation selectors, fillers), blanks that are no white space, and noncharacters.
_UNSEEN: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff" + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 17))
)
_ABSOLUTE_IRI: Final = re.compile(rf"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{{}}|\\^`\x00-\x20{_UNSEEN}]+")
_MEMORY: Final = 20_000  # names a term map remembers beyond its terms; a client that invents names cannot grow it


def is_name(text: str) -> bool:
    """Whether ``text`` is a name in the grammar of clause 4.6.2 (without prefix)."""
    return _NAME.fullmatch(text) is not None and text[0].isalpha()


def is_iri(text: str) -> bool:
    """Whether ``text`` is an absolute IRI: a scheme, and no character that is forbidden in IRIs or cannot be seen."""
    return _ABSOLUTE_IRI.fullmatch(text) is not None


class TermMap:
    """One resolved ``@context``: names to IRIs and back. It does not change; it only remembers what it worked out."""

    __slots__ = (
        "_compacted",
        "_expanded",
        "_prefixes",
        "_terms",
        "_types",
        "context",
        "documents",
        "stored",
        "vocabulary",
    )

    def __init__(
        self,
        active: Mapping[str, Any],
        context: Any = None,
        documents: frozenset[str] = frozenset(),
        stored: frozenset[StoredDocument] = frozenset(),
    ) -> None:
        """``active`` is PyLD's active context: ``mappings`` of terms and ``@vocab``."""
        mappings: Mapping[str, Any] = active["mappings"]
        self.context = context
        """The ``@context`` as the client gave it, or None for the core alone."""
        self.documents = documents
        """The documents it was made of: URLs, and the ids of those that the hub hosts."""
        self.stored = stored
        """Those of them that come neither with the hub nor with the request."""
        self.vocabulary: str = active["@vocab"]
        self._terms: dict[str, str | None] = {
            term: mapping and mapping.get("@id") for term, mapping in mappings.items()
        }
        self._types: dict[str, str] = {
            term: mapping["@type"] for term, mapping in mappings.items() if mapping and "@type" in mapping
        }
        self._prefixes: list[tuple[str, str]] = [
            (term, mapping["@id"])
            for term, mapping in mappings.items()
            if mapping and mapping.get("_prefix") and ":" not in term
        ]
        self._compacted = _preferred_terms(mappings)
        self._expanded: dict[str, str] = {}

    def expand_term(self, name: str) -> str:
        """The IRI of a type or attribute name.

        Raises :class:`BadRequestData` when ``name`` is neither a term, nor a name of clause 4.6.2, nor an IRI.
        """
        try:
            return self._expanded[name]
        except KeyError:
            return _remember(self._expanded, name, self._expand_name(name))

    def expand_value_iri(self, value: str) -> str:
        """The IRI of a value that is coerced to ``@vocab`` (``vocab``, ``objectType``, ``valueType``): any string."""
        if value in self._terms:
            return self._terms[value] or value
        return self._expand_prefixed(value) or self.vocabulary + value

    def compact_iri(self, iri: str) -> str:
        """The shortest name of ``iri``: term, name in the default vocabulary, ``prefix:rest``, or the IRI itself."""
        try:
            return self._compacted[iri]
        except KeyError:
            return _remember(self._compacted, iri, self._compact(iri))

    def coercion(self, term: str) -> str | None:
        """The ``@type`` that the context gives to values of ``term`` (``@id``, ``@vocab``, ``@json`` or an IRI)."""
        return self._types.get(term)

    def _expand_name(self, name: str) -> str:
        if name in self._terms:
            iri = self._terms[name]
            if iri is None or iri.startswith("@"):
                raise BadRequestData(f"{name!r} cannot be used as a name: the @context maps it to {iri or 'null'}")
            return iri
        if ":" in name:
            iri = self._expand_prefixed(name)
            if iri is None or not is_iri(iri):
                raise BadRequestData(f"{name!r} is not a valid name or IRI")
            return iri
        if not is_name(name):
            raise BadRequestData(
                f"{name!r} is not a valid name: a letter, then letters, digits and underscores are allowed"
            )
        return self.vocabulary + name

    def _expand_prefixed(self, name: str) -> str | None:
        prefix, colon, suffix = name.partition(":")
        if not colon or not prefix:
            return None
        if prefix != "_" and not suffix.startswith("//"):
            for term, iri in self._prefixes:
                if term == prefix:
                    return iri + suffix
        return name if is_iri(name) else None

    def _compact(self, iri: str) -> str:
        if iri.startswith(self.vocabulary) and iri != self.vocabulary:
            suffix = iri[len(self.vocabulary) :]
            if suffix not in self._terms:
                return suffix
        candidates = [
            f"{term}:{iri[len(start) :]}"
            for term, start in self._prefixes
            if iri.startswith(start) and iri != start and f"{term}:{iri[len(start) :]}" not in self._terms
        ]
        return min(candidates, key=lambda name: (len(name), name)) if candidates else iri


def _remember(memory: dict[str, str], key: str, value: str) -> str:
    if len(memory) < _MEMORY:
        memory[key] = value
    return value


def _preferred_terms(mappings: Mapping[str, Any]) -> dict[str, str]:
    """For each IRI the term that JSON-LD term selection prefers for a node (an attribute or a type).

    Unlike it, a term whose coercion or container does not fit a node is still used when there is no other: clause 4.4
    lets a context declare the datatype of a Property's value under its name.
    """
    best: dict[str, tuple[int, int, int, str]] = {}
    for term, mapping in mappings.items():
        if not mapping or mapping.get("reverse") or not mapping.get("@id") or mapping["@id"].startswith("@"):
            continue
        container = 0 if mapping.get("@container") == ["@set"] else 2 if mapping.get("@container") else 1
        coercion = {"@id": 0, None: 1}.get(mapping.get("@type"), 2)
        rank = (container, coercion, len(term), term)
        iri = mapping["@id"]
        if iri not in best or rank < best[iri]:
            best[iri] = rank
    return {iri: rank[3] for iri, rank in best.items()}


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """How much one ``@context`` may pull in (clause 5.5.7 leaves it open; a hub must not be walked around the web)."""

    max_documents: int = 20
    max_depth: int = 6  # contexts that name contexts
    max_terms: int = 50_000


@dataclass(slots=True)
class _Gathered:
    """A user's context flattened to the objects it consists of, in their order."""

    parts: list[dict[str, Any]] = field(default_factory=list)
    prefixed: dict[str, str] = field(default_factory=dict)
    """Terms like ``open311:type`` that name another IRI: names for clause 4.6.2, not allowed by JSON-LD 1.1 (PyLD)."""
    tenant: str = ""
    documents: set[str] = field(default_factory=set)
    stored: set[StoredDocument] = field(default_factory=set)
    terms: int = 0

    @property
    def is_private(self) -> bool:
        """Whether documents of the tenant's own are in it."""
        return any(document.tenant is not None for document in self.stored)


class ContextResolver:
    """Makes and keeps term maps (bounded, least recently used goes first). For one event loop."""

    def __init__(
        self,
        loader: ContextLoader | None = None,
        *,
        hosted: HostedContextFinder | None = None,
        size: int = 256,
        limits: ContextLimits | None = None,
    ) -> None:
        self._loader = loader
        self._hosted = hosted
        self._size = size
        self._limits = limits or ContextLimits()
        self._maps: OrderedDict[tuple[str, bytes | str], TermMap] = OrderedDict()
        self._generation = 0
        self.uses = ContextUses()

    async def resolve(self, context: Any = None, tenant: str = "") -> TermMap:
        """The term map of an ``@context`` value (URL, list, object, nested or None) together with the core context.

        ``tenant`` names whose hosted contexts may be used. Raises :class:`LdContextNotAvailable` when a remote document
        cannot be had, and :class:`BadRequestData` when it or the value itself is no ``@context`` (clause 5.5.6).
        Failures are not kept.
        """
        if context is None or context == []:
            return core_terms()
        key = context if isinstance(context, str) else _key(context)
        terms = self._known(tenant, key) or await self._make(context, key, tenant)
        if terms.stored:
            self.uses.count(terms.stored, datetime.now(UTC))
        return terms

    def knows(self, url: str, tenant: str = "") -> bool:
        """Whether a term map of ``url`` is at hand."""
        return self._known(tenant, url) is not None

    async def validate(self, context: Any) -> None:
        """Raise :class:`BadRequestData` when ``context`` is none; what it only refers to is not fetched."""
        gathered = _Gathered()
        await self._gather(_without_references(context), None, (), gathered)
        _term_map(None, gathered)

    def forget(self, url: str) -> None:
        """Drop every term map made with the document at ``url``, because it changed or was deleted."""
        self._generation += 1
        for key in [key for key, terms in self._maps.items() if url in terms.documents]:
            del self._maps[key]

    def forget_stored(self) -> None:
        """Drop every term map made with a stored document: another process changed or deleted one."""
        self._generation += 1
        for key in [key for key, terms in self._maps.items() if terms.stored]:
            del self._maps[key]

    def _known(self, tenant: str, key: bytes | str) -> TermMap | None:
        for known in (("", key), (tenant, key)):
            terms = self._maps.get(known)
            if terms is not None:
                self._maps.move_to_end(known)
                return terms
        return None

    async def _make(self, context: Any, key: bytes | str, tenant: str) -> TermMap:
        generation, gathered = self._generation, _Gathered(tenant=tenant)
        await self._gather(context, None, (), gathered)
        if (known := self._known(tenant, key)) is not None:  # another request was faster while documents were loaded
            return known
        terms = _term_map(context, gathered)
        if generation == self._generation:  # else a document may have changed after it was read
            self._maps[tenant if gathered.is_private else "", key] = terms
        while len(self._maps) > self._size:
            self._maps.popitem(last=False)
        return terms

    async def _gather(self, context: Any, base: str | None, path: tuple[str, ...], into: _Gathered) -> None:
        if context is None:
            into.parts.clear()
            into.prefixed.clear()
        elif isinstance(context, list):
            for part in context:
                await self._gather(part, base, path, into)
        elif isinstance(context, str):
            await self._gather_document(context, base, path, into)
        elif isinstance(context, dict):
            await self._gather_object(context, base, path, into)
        else:
            raise _invalid(path, f"{orjson.dumps(context).decode()} is not a JSON-LD context")

    async def _gather_object(
        self, context: dict[str, Any], base: str | None, path: tuple[str, ...], into: _Gathered
    ) -> None:
        if set(context) == {"@context"}:
            await self._gather(context["@context"], base, path, into)
            return
        for term, definition in context.items():
            if isinstance(definition, dict) and "@context" in definition:
                raise _invalid(path, f"term {term!r} has a scoped context, which clause 5.5.7 does not allow")
        if "@import" in context:
            await self._gather(context["@import"], base, path, into)
        into.terms += len(context)
        if into.terms > self._limits.max_terms:
            raise _invalid(path, f"it has more than {self._limits.max_terms} terms")
        part = dict(context)
        for term, iri in context.items():
            if ":" in term and isinstance(iri, str) and is_iri(iri):
                into.prefixed[term] = part.pop(term)
        # "@protected" would let a user's context refuse the core's terms, which have precedence over it.
        into.parts.append({k: v for k, v in part.items() if k not in ("@protected", "@import", "@base")})

    async def _gather_document(self, url: str, base: str | None, path: tuple[str, ...], into: _Gathered) -> None:
        url = urljoin(base, url) if base else url
        if is_core_context(url):
            return
        name = hosted_id(url) or url  # the hub's own address has many forms, behind proxies and within itself
        if not is_iri(name):
            raise _invalid(path, f"{url!r} is not an absolute URL")
        if name in path:
            raise _invalid((*path, url), "it refers to itself")
        if len(path) >= self._limits.max_depth:
            raise LdContextNotAvailable(f"@context {url} is nested deeper than {self._limits.max_depth} documents")
        into.documents.add(name)
        if len(into.documents) > self._limits.max_documents:
            raise LdContextNotAvailable(f"The @context needs more than {self._limits.max_documents} documents")
        document = await self._load(name, url, into)
        if not isinstance(document, dict) or "@context" not in document:
            raise _invalid((url,), "the document has no @context member")
        await self._gather(document["@context"], None if name.startswith("urn:") else url, (*path, name), into)

    async def _load(self, name: str, url: str, into: _Gathered) -> Any:
        bundled = bundled_contexts()
        if name in bundled:
            return bundled[name]
        if name != url or name.startswith("urn:"):
            document = None if self._hosted is None else await self._hosted.find(name, into.tenant)
            if document is not None:
                into.stored.add(StoredDocument(name, into.tenant))
                return document
            if url == name or url.startswith("/"):
                raise LdContextNotAvailable(f"@context {url} does not exist")
        if self._loader is None:
            raise LdContextNotAvailable(f"@context {url} is not among the bundled contexts")
        document = await self._loader.load(url)
        into.stored.add(StoredDocument(url))
        return document


def _without_references(context: Any) -> Any:
    """``context`` without the URLs of its lists, after a look at them."""
    if isinstance(context, str):
        if not is_iri(context) and hosted_id(context) is None:
            raise _invalid((), f"{context!r} is not an absolute URL")
        return []
    if isinstance(context, list):
        return [_without_references(part) for part in context]
    if isinstance(context, dict):
        return {member: value for member, value in context.items() if member != "@import"}
    return context


def _key(context: Any) -> bytes:
    try:
        return orjson.dumps(context, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as exc:  # whole numbers beyond 64 bits, half a surrogate pair, hundreds of levels
        raise _invalid((), f"it cannot be written as JSON: {exc}") from exc


def _invalid(path: tuple[str, ...], reason: str) -> BadRequestData:
    return BadRequestData(f"@context {path[-1]} is not valid: {reason}" if path else f"@context is not valid: {reason}")


@cache
def core_terms() -> TermMap:
    """The term map of the core context alone: for requests without an ``@context`` (clause 5.5.5)."""
    return TermMap(process([]))


def _term_map(context: Any, gathered: _Gathered) -> TermMap:
    try:
        active = process(gathered.parts)
    except (pyld.JsonLdError, TypeError, ValueError, AttributeError) as error:  # PyLD trips over some bad values
        raise _invalid((), str(error.args[0] if error.args else error)) from error
    mappings = active["mappings"] | {term: {"@id": iri} for term, iri in gathered.prefixed.items()}
    active = {**active, "mappings": mappings}
    return TermMap(active, context, frozenset(gathered.documents), frozenset(gathered.stored))
