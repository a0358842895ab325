# SPDX-License-Identifier: Apache-2.0
"""The JSON-LD contexts that come with the hub, by the URL they are published under.

A city network is often closed, so the core contexts of NGSI-LD and those of the Smart Data Models used for rivers,
weather and alerts are part of the package (``schemas/contexts/``, licences in its README).

Minamo defines no vocabulary of its own: ``waterLevel`` is the term of WaterObserved, ``precipitation`` that of
WeatherObserved, ``Alert`` that of dataModel.Alert. :data:`MINAMO_CONTEXT` only lists these contexts, so that one name
in a Link header is enough; where two models use one word for different IRIs, the later of the list wins (Environment,
Device, Weather, Alert in this order). Its name is a URN, which belongs to nobody's domain: a hub serves it under its
own address, and clients that want no such name can list the Smart Data Models URLs themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import unquote
from uuid import NAMESPACE_URL, uuid5

from schemas.terms import CORE_CONTEXT

CORE_CONTEXTS: Final[dict[str, str]] = {
    f"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.{minor}.jsonld": f"ngsi-ld-core-v1.{minor}.jsonld"
    for minor in range(3, 10)
}
"""File of each bundled version of the core context by its URL."""

DATA_MODELS: Final = (
    "dataModel.Alert",
    "dataModel.Building",
    "dataModel.Device",
    "dataModel.Environment",
    "dataModel.IssueTracking",
    "dataModel.PointOfInterest",
    "dataModel.Transportation",
    "dataModel.Weather",
)
"""The repositories of the Smart Data Models whose context is bundled."""

MINAMO_CONTEXT: Final = "urn:ngsi-ld:jsonldContext:minamo-v1"

_SMART_DATA_MODELS_URLS: Final = (
    "https://raw.githubusercontent.com/smart-data-models/{}/master/context.jsonld",
    "https://smart-data-models.github.io/{}/context.jsonld",
)
_CORE_URL: Final = re.compile(r"https?://uri\.etsi\.org/ngsi-ld/v1/ngsi-ld-core-context(-v\d+\.\d+)?\.jsonld")


_LOCAL_ID: Final = "urn:ngsi-ld:jsonldContext:"
_HOSTED_PATH: Final = "/ngsi-ld/v1/jsonldContexts/"


def hosted_id(url: str) -> str | None:
    """The identifier in the address under which a hub serves one of its contexts (clause 6.30), whatever its host.

    Identifiers are unique, so the host need not be looked at: a hub has several names, and clients name it relatively.
    """
    _, found, tail = url.partition(_HOSTED_PATH)
    local_id = unquote(tail)
    return local_id if found and local_id.startswith(_LOCAL_ID) else None


def hosted_path(local_id: str) -> str:
    """The path under which a hub serves a context."""
    return _HOSTED_PATH + local_id


def local_id(name: str) -> str:
    """The identifier of a context that the hub hosts; ``name`` is unique among them."""
    return _LOCAL_ID + name


def bundled_id(url: str) -> str:
    """The identifier of the bundled context that is published at ``url``."""
    return url if url.startswith(_LOCAL_ID) else local_id(str(uuid5(NAMESPACE_URL, url)))


def context_url(context: Any) -> str | None:
    """The one URL that stands for an ``@context`` value; None when it has inline parts or several documents.

    The core context has the last word in any case, so beside another URL it says nothing.
    """
    parts = [part for part in (context if isinstance(context, list) else [context]) if part is not None]
    users = [part for part in parts if not (isinstance(part, str) and is_core_context(part))]
    if not users:
        return CORE_CONTEXT
    return users[0] if len(users) == 1 and isinstance(users[0], str) else None


def is_core_context(url: str) -> bool:
    """Whether ``url`` names a version of the core context, bundled or not."""
    return _CORE_URL.fullmatch(url) is not None


class _BundledContexts(Mapping[str, dict[str, Any]]):
    """Documents (``{"@context": ...}``) by URL; each file is read at its first use and must not be changed."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def __getitem__(self, url: str) -> dict[str, Any]:
        return _read(self._names[url])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@cache
def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((files("schemas") / "contexts" / name).read_text("utf-8"))
    return document


@cache
def bundled_contexts() -> Mapping[str, dict[str, Any]]:
    """All bundled context documents by URL."""
    names = dict(CORE_CONTEXTS)
    for url in _SMART_DATA_MODELS_URLS:
        names |= {url.format(model): f"{model}.jsonld" for model in DATA_MODELS}
    names["https://w3id.org/security/data-integrity/v2"] = "w3id-data-integrity-v2.jsonld"
    names[MINAMO_CONTEXT] = "minamo-v1.jsonld"
    return _BundledContexts(names)


def core_context() -> dict[str, Any]:
    """The document of the core context that the hub works with (V1.9)."""
    return bundled_contexts()[CORE_CONTEXT]
