# SPDX-License-Identifier: Apache-2.0
"""``pick`` and ``omit`` of a subscription (clause 4.21): how the entity is written, and how those linked to it.

Stored, a member is a name (``id``, ``type``, ``scope`` or an IRI); one with a selection of its own, which is about the
entities that a Relationship points at, is ``{"name": IRI, "linked": [member, ...]}``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from broker.linked import LinkedForm
from broker.query.members import Member, parse_members
from broker.representations import Representation

StoredMember: TypeAlias = str | dict[str, Any]

ENTITY_MEMBERS: Final = frozenset({"id", "type", "scope"})
_UNEXPANDED: Final = ENTITY_MEMBERS | {"createdAt", "modifiedAt", "expiresAt"}


def expand_members(text: str, path: str, expand: Callable[[str], str]) -> list[StoredMember]:
    """The members that ``text`` names, stored; raises ``BadRequestData`` for what is no projection."""
    return [_expanded(member, expand) for member in parse_members(text, path)]


def _expanded(member: Member, expand: Callable[[str], str]) -> StoredMember:
    name = member.name if member.name in _UNEXPANDED else expand(member.name)
    return {"name": name, "linked": [_expanded(each, expand) for each in member.linked]} if member.linked else name


def compact_member(member: StoredMember, compact: Callable[[str], str]) -> str:
    """A stored member as clients write it."""
    if isinstance(member, str):
        return member if member in _UNEXPANDED else compact(member)
    return f"{compact(member['name'])}{{{','.join(compact_member(each, compact) for each in member['linked'])}}}"


def selection_depth(members: Sequence[StoredMember]) -> int:
    """How many Relationships the longest selection follows."""
    return max((1 + selection_depth(item["linked"]) for item in members if isinstance(item, dict)), default=0)


def linked_form(base: Representation, pick: Sequence[StoredMember] | None, omit: Sequence[StoredMember]) -> LinkedForm:
    """The form of an entity of which these members are picked or omitted, and of the entities linked to it.

    A member with a selection of its own is picked, and never omitted; what is linked and not selected from is whole.
    """
    linked = {}
    for members, is_pick in ((pick or (), True), (omit, False)):
        for member in members:
            if isinstance(member, dict):
                picked, omitted = (member["linked"], ()) if is_pick else (None, member["linked"])
                linked[member["name"]] = linked_form(base, picked, omitted)
    representation = replace(
        base,
        pick=frozenset(map(_name, pick)) if pick is not None else None,
        omit=frozenset(member for member in omit if isinstance(member, str)),
    )
    return LinkedForm(representation, linked, LinkedForm(base))


def _name(member: StoredMember) -> str:
    return member if isinstance(member, str) else str(member["name"])
