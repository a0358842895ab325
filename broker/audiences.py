# SPDX-License-Identifier: Apache-2.0
"""Audiences: who may see what (public, briefed, staff).

An attribute or a whole entity is for an audience and all above it. What no rule is about is public; of several rules
the strictest holds, so that a rule can only take away. The rules are applied by the views of
``context_store/sql/seen.sql``, through which all reads of others than staff go: filters, orders, counts and aggregates
see what the caller sees. Subscriptions ask the same views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from broker.errors import BadRequestData
from schemas.terms import LOCATION


class Audience(IntEnum):
    """Larger numbers see more."""

    PUBLIC = 0
    BRIEFED = 1
    STAFF = 2

    @property
    def word(self) -> str:
        """The name in documents."""
        return self.name.lower()


BY_WORD: Final[Mapping[str, Audience]] = {audience.word: audience for audience in Audience}
SCOPES: Final[Mapping[Audience, tuple[str, ...]]] = {
    Audience.PUBLIC: (),
    Audience.BRIEFED: ("/audience/briefed",),
    Audience.STAFF: ("/audience/staff",),
}
"""Scopes of an entity by which the whole entity is for an audience; ``seen.sql`` has the same."""


@dataclass(frozen=True, slots=True)
class AudienceRule:
    """``attribute`` (IRI) of the entities with a type (IRI) or an id is for ``audience``; without it, they as a whole.

    Empty texts choose all.
    """

    audience: Audience
    entity_type: str = ""
    entity_id: str = ""
    attribute: str = ""


_MEMBERS: Final = frozenset({"type", "entityId", "attribute", "audience", "entityCount"})  # the last is only told


def parse_audience(value: Any, where: str = "audience") -> Audience:
    """The audience of this name. Raises :class:`BadRequestData`."""
    if not isinstance(value, str) or value not in BY_WORD:
        raise BadRequestData(f"{where}: one of {', '.join(BY_WORD)} is expected")
    return BY_WORD[value]


def parse_audience_rule(document: Mapping[str, Any], expand: Callable[[str], str]) -> AudienceRule:
    """The rule of ``{"type" or "entityId", "attribute", "audience"}``. Raises :class:`BadRequestData`."""
    if unknown := sorted(document.keys() - _MEMBERS):
        raise BadRequestData(f"{unknown[0]!r} is not a member of a rule for audiences")
    texts = {name: document.get(name, "") for name in ("type", "entityId", "attribute")}
    for name, value in texts.items():
        if not isinstance(value, str) or "\0" in value or len(value) > 1000:
            raise BadRequestData(f"{name}: a text is expected")
    audience = parse_audience(document.get("audience"))
    if texts["type"] and texts["entityId"]:
        raise BadRequestData("Entities are chosen by type or by entityId, not by both")
    if not any(texts.values()):
        raise BadRequestData("A rule needs a type, an entityId or an attribute: nothing would be left to see")
    attribute = expand(texts["attribute"]) if texts["attribute"] else ""
    if attribute == LOCATION:
        raise BadRequestData("location cannot be kept from an audience by itself: keep the whole entity")
    return AudienceRule(audience, expand(texts["type"]) if texts["type"] else "", texts["entityId"], attribute)


def rule_document(rule: AudienceRule, shorten: Callable[[str], str]) -> dict[str, str]:
    """``rule`` as :func:`parse_audience_rule` reads it."""
    texts = {
        "type": shorten(rule.entity_type) if rule.entity_type else "",
        "entityId": rule.entity_id,
        "attribute": shorten(rule.attribute) if rule.attribute else "",
    }
    return {name: text for name, text in texts.items() if text} | {"audience": rule.audience.word}
