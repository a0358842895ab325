# SPDX-License-Identifier: Apache-2.0
"""A hub for tests that only talk to it: started once, since that takes longest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.hub_process import HubProcess, hub_process


@pytest.fixture(scope="session")
def running_hub() -> Iterator[HubProcess]:
    """The whole hub as a person starts it. Who writes to it has a tenant of its own, and kills nothing."""
    with hub_process() as running:
        yield running
