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
from functools import cache
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import orjson
from pyld import jsonld as pyld
from pyld.context_resolver import ContextResolver as PyldResolver

from broker.errors import BadRequestData, LdContextNotAvailable
from broker.ports import ContextLoader
from schemas.contexts import bundled_contexts, core_context, is_core_context

_NAME: Final = re.compile(r"\w+")  # clause 4.6.2; \w is exactly Unicode letters, numbers and "_"
_ABSOLUTE_IRI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`\x00-\x20]+")
_MEMORY: Final = 20_000  # names a term map remembers beyond its terms; a client that invents names cannot grow it


def is_name(text: str) -> bool:
    """Whether ``text`` is a name in the grammar of clause 4.6.2 (without prefix)."""
    return _NAME.fullmatch(text) is not None and text[0].isalpha()


def is_iri(text: str) -> bool:
    """Whether ``text`` is an absolute IRI: a scheme and no character that is forbidden in IRIs."""
    return _ABSOLUTE_IRI.fullmatch(text) is not None


class TermMap:
    """One resolved ``@context``: names to IRIs and back. It does not change; it only remembers what it worked out."""

    __slots__ = ("_compacted", "_expanded", "_prefixes", "_terms", "_types", "context", "documents", "vocabulary")

    def __init__(self, active: Mapping[str, Any], context: Any = None, documents: frozenset[str] = frozenset()) -> None:
        """``active`` is PyLD's active context: ``mappings`` of terms and ``@vocab``."""
        mappings: Mapping[str, Any] = active["mappings"]
        self.context = context
        """The ``@context`` as the client gave it, or None for the core alone."""
        self.documents = documents
        """The remote documents it was made of."""
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
    documents: set[str] = field(default_factory=set)
    remote: bool = False
    terms: int = 0


class ContextResolver:
    """Makes and keeps term maps (bounded, least recently used goes first). For one event loop."""

    def __init__(
        self, loader: ContextLoader | None = None, *, size: int = 256, limits: ContextLimits | None = None
    ) -> None:
        self._loader = loader
        self._size = size
        self._limits = limits or ContextLimits()
        self._maps: OrderedDict[bytes | str, TermMap] = OrderedDict()

    async def resolve(self, context: Any = None) -> TermMap:
        """The term map of an ``@context`` value (URL, list, object, nested or None) together with the core context.

        Raises :class:`LdContextNotAvailable` when a remote document cannot be had or is no context, and
        :class:`BadRequestData` when the value itself is no ``@context``. Failures are not kept.
        """
        if context is None or context == []:
            return core_terms()
        key = context if isinstance(context, str) else orjson.dumps(context, option=orjson.OPT_SORT_KEYS)
        if (known := self._known(key)) is not None:
            return known
        gathered = _Gathered()
        await self._gather(context, None, (), gathered)
        if (known := self._known(key)) is not None:  # another request was faster while documents were loaded
            return known
        terms = _term_map(context, gathered)
        self._maps[key] = terms
        while len(self._maps) > self._size:
            self._maps.popitem(last=False)
        return terms

    def forget(self, url: str) -> None:
        """Drop every term map made with the document at ``url``, because it changed or was deleted."""
        for key in [key for key, terms in self._maps.items() if url in terms.documents]:
            del self._maps[key]

    def _known(self, key: bytes | str) -> TermMap | None:
        terms = self._maps.get(key)
        if terms is not None:
            self._maps.move_to_end(key)
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
        if not is_iri(url):
            raise _invalid(path, f"{url!r} is not an absolute URL")
        if url in path:
            raise LdContextNotAvailable(f"@context {url} refers to itself")
        if len(path) >= self._limits.max_depth:
            raise LdContextNotAvailable(f"@context {url} is nested deeper than {self._limits.max_depth} documents")
        into.documents.add(url)
        if len(into.documents) > self._limits.max_documents:
            raise LdContextNotAvailable(f"The @context needs more than {self._limits.max_documents} documents")
        document = await self._load(url, into)
        if not isinstance(document, dict) or "@context" not in document:
            raise LdContextNotAvailable(f"The document at {url} has no @context member")
        await self._gather(document["@context"], url, (*path, url), into)

    async def _load(self, url: str, into: _Gathered) -> Any:
        bundled = bundled_contexts()
        if url in bundled:
            return bundled[url]
        if self._loader is None:
            raise LdContextNotAvailable(f"@context {url} is not among the bundled contexts")
        into.remote = True
        return await self._loader.load(url)


def _invalid(path: tuple[str, ...], reason: str) -> BadRequestData | LdContextNotAvailable:
    if path:
        return LdContextNotAvailable(f"@context {path[-1]} is not valid: {reason}")
    return BadRequestData(f"@context is not valid: {reason}")


@cache
def core_terms() -> TermMap:
    """The term map of the core context alone: for requests without an ``@context`` (clause 5.5.5)."""
    return TermMap(_process([]))


def _term_map(context: Any, gathered: _Gathered) -> TermMap:
    try:
        active = _process(gathered.parts)
    except (pyld.JsonLdError, TypeError, ValueError, AttributeError) as error:  # PyLD trips over some bad values
        reason = f"@context is not valid: {error.args[0] if error.args else error}"
        raise (LdContextNotAvailable if gathered.remote else BadRequestData)(reason) from error
    mappings = active["mappings"] | {term: {"@id": iri} for term, iri in gathered.prefixed.items()}
    return TermMap({**active, "mappings": mappings}, context, frozenset(gathered.documents))


def _process(parts: list[dict[str, Any]]) -> Mapping[str, Any]:
    """PyLD's active context of ``parts`` and then the core context.

    The core stands before ``parts`` too, unprotected: clients name it last or not at all and still use its terms and
    prefixes in their definitions (``"@type": "DateTime"``), which JSON-LD alone would refuse.
    """
    active = _extend(_unprotected_core(), parts) if parts else None
    return _extend(active, [core_context()["@context"]])


@cache
def _unprotected_core() -> Mapping[str, Any]:
    core = core_context()["@context"]
    return _extend(None, [{member: value for member, value in core.items() if member != "@protected"}])


def _extend(active: Mapping[str, Any] | None, parts: list[dict[str, Any]]) -> Mapping[str, Any]:
    options = {
        "base": "",
        "processingMode": "json-ld-1.1",
        "documentLoader": _load_bundled,
        "contextResolver": PyldResolver({}, _load_bundled),
    }
    processor = pyld.JsonLdProcessor()
    start = processor.process_context(None, None, options) if active is None else active
    result: Mapping[str, Any] = processor.process_context(start, parts, options)
    return result


def _load_bundled(url: str, _options: Any) -> dict[str, Any]:
    """PyLD's document loader: everything a user's context names is gathered before, so only the core's own are left."""
    if urlsplit(url).fragment or url not in bundled_contexts():
        raise LdContextNotAvailable(f"@context {url} is not among the bundled contexts")
    return {"contentType": "application/ld+json", "contextUrl": None, "documentUrl": url,
            "document": bundled_contexts()[url]}  # fmt: skip
