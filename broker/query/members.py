# SPDX-License-Identifier: Apache-2.0
"""The attribute projection language of ``pick`` and ``omit`` (clause 4.21 of ETSI GS CIM 009 V1.9.1), text to tree.

``name,locatedAt{name,isInCountry{name}}``: braces choose members of the entities that a Relationship links to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from broker.errors import BadRequestData

_SYMBOL: Final = re.compile(r"([,|{}])")
_MAX_DEPTH: Final = 32  # of braces within each other


@dataclass(frozen=True, slots=True)
class Member:
    """A member by its name in the request's @context, and what is chosen of the entities it links to, if anything."""

    name: str
    linked: tuple[Member, ...] = ()


def parse_members(text: str, parameter: str) -> tuple[Member, ...]:
    """``ProjectionTerm = AttrName [%x7B ProjectionTerm %x7D] *((%x2C / %x7C) ProjectionTerm)``.

    Raises ``BadRequestData``, also for an empty name; whether a name is a term is the caller's to check.
    """
    tokens = [token.strip() for token in _SYMBOL.split(text)]
    members, position = _members(tokens, 0, parameter, 0)
    if position != len(tokens):
        raise BadRequestData(f"{parameter} is not valid: '}}' has no '{{' before it")
    return members


def _members(tokens: list[str], position: int, parameter: str, depth: int) -> tuple[tuple[Member, ...], int]:
    """The terms up to a closing brace or the end. Tokens alternate: a name (maybe empty), then a symbol."""
    if depth > _MAX_DEPTH:
        raise BadRequestData(f"{parameter} is nested more than {_MAX_DEPTH} levels deep")
    members: list[Member] = []
    while True:
        name = tokens[position]
        if not name:
            raise BadRequestData(f"{parameter} is not valid: a name is missing")
        position += 1
        linked: tuple[Member, ...] = ()
        if tokens[position : position + 1] == ["{"]:
            linked, position = _members(tokens, position + 1, parameter, depth + 1)
            if tokens[position : position + 1] != ["}"] or tokens[position + 1] != "":
                raise BadRequestData(f"{parameter} is not valid: '{{' is not closed")
            position += 2
        members.append(Member(name, linked))
        if position >= len(tokens) or tokens[position] not in (",", "|"):
            return tuple(members), position
        position += 1


def members_depth(members: tuple[Member, ...]) -> int:
    """How many Relationships the longest selection follows; 0 when it stays within the entity."""
    return max((1 + members_depth(member.linked) for member in members if member.linked), default=0)
