# SPDX-License-Identifier: Apache-2.0
"""Names of operations and of groups of them that a context source can offer (clause 4.20)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

RETRIEVE: Final = "retrieveEntity"
QUERY: Final = "queryEntity"
QUERY_BATCH: Final = "queryBatch"

_DISCOVERY: Final = (
    "retrieveEntityTypes", "retrieveEntityTypeDetails", "retrieveEntityTypeInfo",
    "retrieveAttrTypes", "retrieveAttrTypeDetails", "retrieveAttrTypeInfo",
)  # fmt: skip
_SUBSCRIPTION: Final = (
    "createSubscription", "updateSubscription", "retrieveSubscription", "querySubscription", "deleteSubscription",
)  # fmt: skip
_ENTITY_MAPS: Final = ("retrieveEntityMap", "updateEntityMap", "deleteEntityMap", "createEntityMapQueryEntity")
_IDENTITY: Final = "retrieveContextSourceIdentity"

PROVISION: Final = frozenset(
    ("createEntity", "updateEntity", "appendAttrs", "updateAttrs", "deleteAttrs", "deleteEntity", "createBatch",
     "upsertBatch", "updateBatch", "deleteBatch", "mergeEntity", "replaceEntity", "replaceAttrs", "mergeBatch",
     "purgeEntity")
)  # fmt: skip
"""Operations that change entities (clause 5.6), without those on their history."""

_TEMPORAL: Final = frozenset(
    ("upsertTemporal", "appendAttrsTemporal", "deleteAttrsTemporal", "updateAttrInstanceTemporal",
     "deleteAttrInstanceTemporal", "deleteTemporal", "retrieveTemporal", "queryTemporal",
     "createEntityMapQueryTemporal")
)  # fmt: skip

OPERATIONS: Final = PROVISION | _TEMPORAL | {
    RETRIEVE, QUERY, QUERY_BATCH, *_DISCOVERY, *_SUBSCRIPTION, *_ENTITY_MAPS, _IDENTITY
}  # fmt: skip
"""All of Table 4.20-1."""

FEDERATION: Final = "federationOps"
GROUPS: Final[dict[str, frozenset[str]]] = {
    FEDERATION: frozenset(
        (RETRIEVE, QUERY, QUERY_BATCH, *_DISCOVERY, *_SUBSCRIPTION, *_ENTITY_MAPS, _IDENTITY)
    ),
    "associationOps": frozenset((RETRIEVE, QUERY, QUERY_BATCH, *_DISCOVERY, *_SUBSCRIPTION, _IDENTITY)),
    "updateOps": frozenset(("updateEntity", "updateAttrs", "replaceEntity", "replaceAttrs")),
    "retrieveOps": frozenset((RETRIEVE, QUERY)),
    "redirectionOps": frozenset(
        ("createEntity", "updateEntity", "appendAttrs", "updateAttrs", "deleteAttrs", "deleteEntity", "mergeEntity",
         "replaceEntity", "replaceAttrs", RETRIEVE, QUERY, "purgeEntity", *_DISCOVERY, *_ENTITY_MAPS, _IDENTITY)
    ),
}  # fmt: skip
"""Table 4.20-2."""

OF_AUXILIARY: Final = frozenset(("retrieveOps", RETRIEVE, QUERY))
"""What an auxiliary registration may name (clause 5.9.2.4)."""


def operations_of(names: Iterable[str] | None) -> frozenset[str]:
    """The operations that a registration names, groups taken apart; without any it is ``federationOps``."""
    found: set[str] = set()
    for name in (FEDERATION,) if names is None else names:
        found |= GROUPS.get(name, {name})
    return frozenset(found)
