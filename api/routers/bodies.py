# SPDX-License-Identifier: Apache-2.0
"""What requests about one entity say of it: the id in the path, and names in the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData
from broker.expansion import ENTITY_MEMBERS
from broker.validation import check_uri


def entity_id_of(request: Request) -> str:
    """The entity id in the path; raises ``BadRequestData`` when it is not a URI."""
    return check_uri(request.path_params["entity_id"], "The entity id")


def check_same_id(given: Any, entity_id: str) -> None:
    """A body may repeat the id of its entity; it cannot name another one."""
    if given != entity_id:
        raise BadRequestData(f"The body is about {given}, the request about {entity_id}")


def attribute_iris(body: Mapping[str, Any], terms: TermMap) -> list[str]:
    """The attributes (IRIs) among the members of a body that has been checked."""
    return [terms.expand_term(name) for name in body if name not in ENTITY_MEMBERS]
