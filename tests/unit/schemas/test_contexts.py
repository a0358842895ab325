# SPDX-License-Identifier: Apache-2.0
"""The contexts that come with the package."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.contexts import (
    CORE_CONTEXTS,
    DATA_MODELS,
    MINAMO_CONTEXT,
    bundled_contexts,
    context_url,
    core_context,
    is_core_context,
)
from schemas.terms import CORE_CONTEXT


@pytest.mark.parametrize("url", sorted(bundled_contexts()))
def test_every_bundled_document_has_a_context(url: str) -> None:
    assert bundled_contexts()[url]["@context"]


@pytest.mark.parametrize("minor", range(3, 10))
def test_core_contexts_from_v1_3_to_v1_9_are_bundled(minor: int) -> None:
    assert f"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.{minor}.jsonld" in CORE_CONTEXTS


@pytest.mark.parametrize("model", DATA_MODELS)
def test_data_models_are_bundled_under_both_of_their_urls(model: str) -> None:
    raw = bundled_contexts()[f"https://raw.githubusercontent.com/smart-data-models/{model}/master/context.jsonld"]
    assert raw is bundled_contexts()[f"https://smart-data-models.github.io/{model}/context.jsonld"]


def test_the_core_context_of_the_hub_is_v1_9() -> None:
    assert core_context() is bundled_contexts()[CORE_CONTEXT]


def test_the_minamo_context_lists_bundled_contexts_only() -> None:
    assert set(bundled_contexts()[MINAMO_CONTEXT]["@context"]) <= set(bundled_contexts())


@pytest.mark.parametrize(
    ("url", "core"),
    [
        (CORE_CONTEXT, True),
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld", True),
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.3.jsonld", True),
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-non-existing.jsonld", False),
        ("https://example.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld", False),
    ],
)
def test_core_contexts_are_recognised_by_url(url: str, core: bool) -> None:
    assert is_core_context(url) is core


@pytest.mark.parametrize(
    ("context", "url"),
    [
        (None, CORE_CONTEXT),
        ([], CORE_CONTEXT),
        ("https://example.org/c.jsonld", "https://example.org/c.jsonld"),
        (["https://example.org/c.jsonld", CORE_CONTEXT], "https://example.org/c.jsonld"),
        (["https://example.org/c.jsonld", "https://example.org/d.jsonld"], None),
        ({"level": "https://example.org/level"}, None),
    ],
)
def test_context_url(context: Any, url: str | None) -> None:
    assert context_url(context) == url
