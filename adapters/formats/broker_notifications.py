# SPDX-License-Identifier: Apache-2.0
"""Notifications of other brokers: NGSIv2 (Orion) and NGSI-LD (Orion-LD, Scorpio, Stellio), told apart by their form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.formats.documents import check_count
from broker.intake.readings import UndecodablePayload

V2: Final = "NGSIv2"
LD: Final = "NGSI-LD"
_TAKEN_FORMATS: Final = ("normalized", "keyValues", "simplifiedNormalized", "simplifiedKeyValues")


@dataclass(frozen=True, slots=True)
class BrokerNotification:
    """One notification: entities as they came; ``context`` and ``notified_at`` are of NGSI-LD, where they are given."""

    kind: str
    entities: list[Any]
    context: Any = None
    notified_at: str | None = None


def read_notification(document: Any, attrs_format: str | None = None) -> BrokerNotification:
    """The notification in ``document``; ``attrs_format`` is Orion's header Ngsiv2-AttrsFormat.

    Raises :class:`UndecodablePayload`.
    """
    if isinstance(document, dict) and "contextResponses" in document:
        raise UndecodablePayload("this is NGSIv1; let Orion send attrsFormat normalized or keyValues")
    if attrs_format is not None and attrs_format not in _TAKEN_FORMATS:
        raise UndecodablePayload(f"attrsFormat {attrs_format} has no names; normalized or keyValues are taken")
    if isinstance(document, list):  # simplified formats of Orion: entities without an envelope
        return BrokerNotification(V2, _entities(document))
    if isinstance(document, dict) and "data" not in document and "id" in document and attrs_format is not None:
        return BrokerNotification(V2, [document])
    if not isinstance(document, dict) or "data" not in document:
        raise UndecodablePayload("this is no notification: it has no data")
    data = document["data"]
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        raise UndecodablePayload("this is GeoJSON; let the broker send application/json or application/ld+json")
    if document.get("type") == "Notification":
        entities = _entities(data if isinstance(data, list) else [data])
        return BrokerNotification(LD, entities, document.get("@context"), _text(document.get("notifiedAt")))
    return BrokerNotification(V2, _entities(data))


def with_entities(document: Any, entities: list[Any]) -> Any:
    """The notification with these entities alone."""
    if isinstance(document, Mapping) and "data" in document:
        return {**document, "data": entities}
    return entities


def _entities(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise UndecodablePayload(f"data is {type(data).__name__}; it has to be an array of entities")
    check_count(len(data), "entities")
    return data


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
