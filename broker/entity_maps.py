# SPDX-License-Identifier: Apache-2.0
"""Entity maps (clauses 4.5.25 and 5.2.39): the entities that a query found, fixed for the pages that follow."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from broker.errors import BadRequestData
from broker.times import to_text

DEFAULT_LIFETIME: Final = timedelta(hours=1)
MAX_LIFETIME: Final = timedelta(hours=24)

_HERE: Final = "@none"  # in place of a registration: the entity is held locally
_UNITS: Final = {"years": 365.0, "months": 30.0, "weeks": 7.0, "days": 1.0}  # days of each, nominal
_DURATION: Final = re.compile(
    r"P(?=.)(?:(?P<years>[0-9]{1,6})Y)?(?:(?P<months>[0-9]{1,6})M)?(?:(?P<weeks>[0-9]{1,6})W)?"
    r"(?:(?P<days>[0-9]{1,6})D)?"
    r"(?:T(?=.)(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?(?:(?P<seconds>[0-9]{1,9}(?:[.,][0-9]+)?)S)?)?"
)


@dataclass(frozen=True, slots=True)
class EntityMap:
    """A map as it is known by its id, without its entities."""

    key: int
    id: str
    expires_at: datetime
    query_hash: bytes


def represent_entity_map(entity_map: EntityMap, entity_ids: Iterable[str]) -> dict[str, Any]:
    """The EntityMap of clause 5.2.39; every entity is held here, so that no maps are linked."""
    return {
        "id": entity_map.id,
        "type": "EntityMap",
        "expiresAt": to_text(entity_map.expires_at),
        "entityMap": {entity_id: [_HERE] for entity_id in entity_ids},
        "linkedMaps": {},
    }


def parse_lifetime(text: str) -> timedelta:
    """An ISO 8601 duration (``PT10M``, ``P1DT12H``); raises ``BadRequestData``."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise BadRequestData(f"entityMapLifetime is {text!r}; an ISO 8601 duration such as PT10M is expected")
    parts = {name: float(value.replace(",", ".")) for name, value in found.groupdict(default="0").items()}
    days = sum(parts[name] * length for name, length in _UNITS.items())
    return timedelta(days=days, hours=parts["hours"], minutes=parts["minutes"], seconds=parts["seconds"])


def allowed_expiry(now: datetime, wished: datetime | timedelta | None) -> datetime:
    """When a map expires: as wished, but never later than :data:`MAX_LIFETIME` from ``now``."""
    if wished is None:
        wished = DEFAULT_LIFETIME
    if isinstance(wished, timedelta):
        return now + min(wished, MAX_LIFETIME)
    return min(wished, now + MAX_LIFETIME)
