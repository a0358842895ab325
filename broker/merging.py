# SPDX-License-Identifier: Apache-2.0
"""How one attribute instance becomes the next: stamping, replacing and merging (clauses 5.5.8 and 5.5.12).

The rules are those of JSON Merge Patch (RFC 7396) with the NGSI-LD Null in the place of null. Instances that are
handed in are never changed; parts that stay as they are may be shared with the result. ``now`` is canonical text.
"""

from __future__ import annotations

from typing import Any, Final

from broker.entities import VALUE_MEMBER, AttributeKind, Attributes, Instance
from broker.errors import BadRequestData
from schemas.terms import NO_DATASET, NULL

_MERGED_VALUES: Final = frozenset(
    (AttributeKind.PROPERTY, AttributeKind.JSON_PROPERTY, AttributeKind.LANGUAGE_PROPERTY)
)
"""Kinds whose value is merged member by member when it is an object; the others (geometries, links) are replaced."""
_NULLS: Final = (NULL, [NULL], {NO_DATASET: NULL})


def is_removal(instance: Instance) -> bool:
    """Whether an instance of a fragment says that the attribute instance is to be removed (clause 4.5.0)."""
    member = VALUE_MEMBER.get(instance.get("type", AttributeKind.PROPERTY), "value")
    return member in instance and instance[member] in _NULLS


def stamp(instance: Instance, old: Instance | None, now: str) -> Instance:
    """``instance`` as it is stored: modified ``now`` and created when ``old`` was (or now); sub-attributes too."""
    result = instance.copy()
    result["createdAt"] = now if old is None else old.get("createdAt", now)
    result["modifiedAt"] = now
    if "attrs" in result:
        subattributes = stamp_all(result.pop("attrs"), {} if old is None else old.get("attrs", {}), now)
        if subattributes:
            result["attrs"] = subattributes
    return result


def stamp_all(attributes: Attributes, old: Attributes, now: str) -> Attributes:
    """Stamp every instance; those that are removals are left out."""
    result: Attributes = {}
    for iri, instances in attributes.items():
        before = old.get(iri, {})
        kept = {
            dataset: stamp(instance, before.get(dataset), now)
            for dataset, instance in instances.items()
            if not is_removal(instance)
        }
        if kept:
            result[iri] = kept
    return result


def new_instance(instance: Instance, attribute: str, now: str) -> Instance:
    """An instance that a partial fragment adds, without its Nulls.

    Raises :class:`BadRequestData` when it has no type or no value.
    """
    return stamp(_complete(instance, attribute), None, now)


def _complete(instance: Instance, attribute: str) -> Instance:
    kind = instance.get("type")
    if kind is None or VALUE_MEMBER[kind] not in instance:
        raise BadRequestData(f"Attribute {attribute} does not exist yet: it needs a type and a value")
    result = {member: _without_nulls(value) for member, value in instance.items() if value != NULL}
    if "attrs" in instance:
        result["attrs"] = {
            iri: {
                dataset: item if is_removal(item) else _complete(item, f"{attribute}.{iri}")
                for dataset, item in instances.items()
            }
            for iri, instances in instance["attrs"].items()
        }
    return result


def update_members(old: Instance, fragment: Instance, attribute: str, now: str) -> Instance:
    """Partial attribute update (clause 5.5.8, example 1): each member that is given replaces the old one.

    Raises :class:`BadRequestData` when the fragment has another attribute type (clause 5.6.4.4).
    """
    if fragment.get("type", old["type"]) != old["type"]:
        raise BadRequestData(f"Attribute {attribute} is a {old['type']}, which cannot become a {fragment['type']}")
    return _patch(old, fragment, attribute, now, merge=False)


def merge_instance(old: Instance, fragment: Instance, attribute: str, now: str, observed_at: str | None) -> Instance:
    """Merge (clause 5.5.12) to any depth; another attribute type replaces the instance.

    ``observed_at`` is the common time of clause 5.6.17.4: it updates an ``observedAt`` the fragment does not give.
    """
    if fragment.get("type", old["type"]) != old["type"]:
        return {**new_instance(fragment, attribute, now), "createdAt": old.get("createdAt", now)}
    result = _patch(old, fragment, attribute, now, merge=True)
    if observed_at is not None and "observedAt" in old and "observedAt" not in fragment:
        result["observedAt"] = observed_at
    return result


def _patch(old: Instance, fragment: Instance, attribute: str, now: str, *, merge: bool) -> Instance:
    result = old.copy()
    value_member = VALUE_MEMBER[old["type"]]
    for member, value in fragment.items():
        if member == "attrs":
            continue
        if value == NULL:
            result.pop(member, None)
        elif merge and member == value_member and old["type"] in _MERGED_VALUES and isinstance(value, dict):
            result[member] = merge_json(old.get(member), value)
        else:
            result[member] = _without_nulls(value) if merge else value
    if "attrs" in fragment:
        subattributes = _patch_attributes(old.get("attrs", {}), fragment["attrs"], attribute, now, merge)
        result.pop("attrs", None)
        if subattributes:
            result["attrs"] = subattributes
    result.setdefault("createdAt", now)
    result["modifiedAt"] = now
    return result


def _patch_attributes(old: Attributes, fragment: Attributes, path: str, now: str, merge: bool) -> Attributes:
    result = dict(old)
    for iri, instances in fragment.items():
        kept = dict(result.get(iri, {}))
        where = f"{path}.{iri}"
        for dataset, instance in instances.items():
            before = kept.get(dataset)
            if is_removal(instance):
                kept.pop(dataset, None)
            elif before is None:
                kept[dataset] = new_instance(instance, where, now)
            elif merge:
                kept[dataset] = merge_instance(before, instance, where, now, None)
            else:
                kept[dataset] = stamp(new_instance(instance, where, now), before, now)
        if kept:
            result[iri] = kept
        else:
            result.pop(iri, None)
    return result


def merge_json(old: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7396) with NGSI-LD Null in the place of null."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for member, value in patch.items():
        if value == NULL:
            result.pop(member, None)
        else:
            result[member] = merge_json(result.get(member), value)
    return result


def _without_nulls(value: Any) -> Any:
    return merge_json(None, value) if isinstance(value, dict) else value
