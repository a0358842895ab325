# SPDX-License-Identifier: Apache-2.0
"""The ``id`` and ``idPattern`` of a query (clauses 5.7.2 and 5.2.33)."""

from __future__ import annotations

import re
from typing import Final

from broker.errors import BadRequestData, TooComplexQuery
from broker.query.patterns import PatternError, compile_pattern
from broker.query.tokens import Limits, pointed, require_storable

MAX_IDS: Final = 10_000
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"\\^`{}|]+")  # RFC 3986 and 3987, scheme required


def parse_ids(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of entity ids. Raises ``BadRequestData`` for one that is not a URI."""
    ids = tuple(text.split(","))
    if len(ids) > MAX_IDS:
        raise TooComplexQuery(f"id has more than {MAX_IDS} entries")
    for entity_id in ids:
        require_storable(entity_id, "id")
        if not _URI.fullmatch(entity_id):
            raise BadRequestData(f"id is not valid: {entity_id!r} is not a URI")
    return ids


def parse_id_pattern(text: str, *, limits: Limits | None = None) -> str:
    """Check an ``idPattern`` (see :mod:`broker.query.patterns` for the dialect) and give it back.

    Raises ``BadRequestData`` when it is malformed, ``TooComplexQuery`` when it is too large.
    """
    if len(text) > (limits or Limits()).length:
        raise TooComplexQuery("idPattern is too long")
    require_storable(text, "idPattern")
    try:
        compile_pattern(text)
    except PatternError as error:
        problem = f"idPattern is not valid: {error.problem}"
        raise BadRequestData(pointed(problem, text, error.position)) from error
    return text
