# SPDX-License-Identifier: Apache-2.0
"""Context processing by PyLD: from context objects to what JSON-LD calls the active context, the core's terms last."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from pyld import jsonld as pyld
from pyld.context_resolver import ContextResolver as PyldResolver

from broker.errors import LdContextNotAvailable
from schemas.contexts import bundled_contexts, core_context


def process(parts: list[dict[str, Any]]) -> Mapping[str, Any]:
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
