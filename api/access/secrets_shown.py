# SPDX-License-Identifier: Apache-2.0
"""Whether an answer has what a client gave for others (``receiverInfo``, ``contextSourceInfo``) in clear.

These are members of NGSI-LD documents, which are given back as they were put (clauses 5.8.3 and 5.10.1), to those who
could have put them. A browser's session reads only, and its screen is seen by others: it gets ``***`` in their
place.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request

from api.access.actors import may_see_secrets
from api.hub import Hub
from broker.sealed import Stored
from context_store.sealing import hide


def reveal(hub: Hub, request: Request) -> Callable[[Stored], Stored]:
    """How a stored text is written into the answer to ``request``."""
    return hub.sealer.shown if may_see_secrets(request) else hide
