# SPDX-License-Identifier: Apache-2.0
"""The running hub does what its OpenAPI document says, whatever it is sent."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from support.fuzzing import check_operation, closed, narrowed, operations
from support.hub_process import HubProcess

# Always the same requests, so that a run that passed passes again.
SEED = 20260701


@pytest.fixture(scope="module")
def document(running_hub: HubProcess) -> dict[str, Any]:
    response = running_hub.http.get("/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


def faults(hub: HubProcess, document: dict[str, Any], *, examples: int, thinned: bool) -> list[str]:
    """What is wrong with the answers to requests made of ``document``."""
    found = []
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations(document):
            try:
                check_operation(operation, hub.url, session, examples=examples, number=SEED, thinned=thinned)
            except Exception as error:  # noqa: BLE001 - failed checks come in many classes; all are told at once
                found.append(f"{operation.label}\n{error}")
    return found


@pytest.mark.slow
def test_requests_about_a_small_world_are_answered_as_described(
    running_hub: HubProcess, document: dict[str, Any]
) -> None:
    assert faults(running_hub, narrowed(document), examples=6, thinned=True) == []


@pytest.mark.slow
def test_requests_about_anything_are_answered_as_described(running_hub: HubProcess, document: dict[str, Any]) -> None:
    assert faults(running_hub, closed(document), examples=3, thinned=False) == []


def test_the_page_needs_nothing_from_elsewhere(running_hub: HubProcess) -> None:
    page = running_hub.http.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    linked = re.findall(r'<link [^>]*href="([^"]+)"', page.text)
    assert [running_hub.http.get(f"/{address}").status_code for address in linked] == [200] * len(linked)
