# SPDX-License-Identifier: Apache-2.0
"""Does this entity match this query? Pure, and fast: it runs for every change of every entity and subscription.

A query is compiled once into closures (:func:`compile_query`); :func:`matches` keeps the compiled queries. The SQL of
``context_store.queries.statements`` must agree with what is here; one table of cases runs through both.

How a term of ``q`` is decided (clause 4.9): it holds when any instance (datasetId) of the target element makes it
hold. Within an instance, ``!=`` and ``!~=`` hold when the target is there and no value of it is equal or matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from broker.entities import VALUE_MEMBER, AttributeKind, Attributes, ExpandedEntity, Instance
from broker.errors import OperationNotSupported
from broker.query.comparison import Test, equality_test, is_text, order_test, pattern_test
from broker.query.geometry import compile_geo
from broker.query.patterns import compile_pattern
from broker.query.q import moment_key
from broker.query.scopes import scope_expression
from broker.query.tree import (
    And,
    AttributePath,
    EntityQuery,
    EntitySelector,
    Formula,
    LinkedPath,
    Operator,
    Or,
    Pattern,
    QueryTree,
    ScopePattern,
    ScopeTree,
    Term,
    TypeName,
    TypeTree,
    Value,
)
from schemas.terms import NO_DATASET

Matcher: TypeAlias = Callable[[ExpandedEntity], bool]
Find: TypeAlias = Callable[[str], ExpandedEntity | None]  # an entity by its id
Targets: TypeAlias = Iterable[Any] | None  # the values of one instance; None when the element is not there
_InstanceTest: TypeAlias = Callable[[str, Instance], bool]  # datasetId and instance
Leaf = TypeVar("Leaf")

_POINTING: Final = frozenset({AttributeKind.RELATIONSHIP, AttributeKind.LIST_RELATIONSHIP})


def matches(entity: ExpandedEntity, query: EntityQuery) -> bool:
    """Whether ``entity`` matches ``query``. Raises ``OperationNotSupported`` for linked entities in ``q``."""
    return _kept(query)(entity)


def compile_query(query: EntityQuery, find: Find | None = None) -> Matcher:
    """A test of entities for ``query``; hold on to it where the same query meets many entities.

    ``find`` gives linked entities by their ids. Without it ``OperationNotSupported`` is raised for linked entities in
    ``q``: one entity alone cannot tell.
    """
    checks = [_selector_matcher(EntitySelector(query.ids, None, query.types))]
    if query.id_pattern is not None:
        checks.append(_id_pattern_matcher(query.id_pattern))
    if query.selectors:
        checks.append(_any_of([_selector_matcher(selector) for selector in query.selectors]))
    if query.attributes:
        checks.append(_attributes_matcher(query.attributes))
    if query.scope is not None:
        checks.append(compile_scope(query.scope))
    if query.q is not None:
        checks.append(compile_q(query.q, find))
    if query.geo is not None:
        checks.append(compile_geo(query.geo))
    return _all_of([check for check in checks if check is not _always])


_kept = lru_cache(maxsize=4096)(compile_query)


def _always(_entity: ExpandedEntity) -> bool:
    return True


def _all_of(checks: list[Matcher]) -> Matcher:
    if not checks:
        return _always
    if len(checks) == 1:
        return checks[0]

    def every(entity: ExpandedEntity) -> bool:
        for check in checks:  # noqa: SIM110 - half the time of all() over a generator
            if not check(entity):
                return False
        return True

    return every


def _any_of(checks: list[Matcher]) -> Matcher:
    def some(entity: ExpandedEntity) -> bool:
        for check in checks:  # noqa: SIM110 - as above
            if check(entity):
                return True
        return False

    return some


def _compile_formula(tree: Formula[Leaf], compile_leaf: Callable[[Leaf], Matcher]) -> Matcher:
    if isinstance(tree, And):
        return _all_of([_compile_formula(operand, compile_leaf) for operand in tree.operands])
    if isinstance(tree, Or):
        return _any_of([_compile_formula(operand, compile_leaf) for operand in tree.operands])
    return compile_leaf(tree)


def _selector_matcher(selector: EntitySelector) -> Matcher:
    checks: list[Matcher] = []
    if selector.ids:
        ids = frozenset(selector.ids)
        checks.append(lambda entity: entity.id in ids)
    elif selector.id_pattern is not None:
        checks.append(_id_pattern_matcher(selector.id_pattern))
    if selector.types is not None:
        checks.append(compile_types(selector.types))
    return _all_of(checks)


def _id_pattern_matcher(pattern: str) -> Matcher:
    search = compile_pattern(pattern).search
    return lambda entity: search(entity.id)


def _attributes_matcher(attributes: tuple[str, ...]) -> Matcher:
    return lambda entity: any(name in entity.attributes for name in attributes)


def compile_types(tree: TypeTree) -> Matcher:
    """A test of an entity's types (clause 4.17)."""

    def has_type(leaf: TypeName) -> Matcher:
        iri = leaf.iri
        return lambda entity: iri in entity.types

    return _compile_formula(tree, has_type)


def compile_scope(tree: ScopeTree) -> Matcher:
    """A test of an entity's scopes (clause 4.19); an entity without scopes matches none."""

    def has_scope(leaf: ScopePattern) -> Matcher:
        expression = re.compile(scope_expression(leaf)[1:-1], re.DOTALL)
        return lambda entity: any(expression.fullmatch(scope) for scope in entity.scopes)

    return _compile_formula(tree, has_scope)


def compile_q(tree: QueryTree, find: Find | None = None) -> Matcher:
    """A test of an entity's attributes (clause 4.9); ``find`` as in :func:`compile_query`."""
    return _compile_formula(tree, lambda term: _term_matcher(term, find))


def _term_matcher(term: Term, find: Find | None) -> Matcher:
    path = term.path
    if isinstance(path, LinkedPath):
        if find is None:
            raise OperationNotSupported("q follows a Relationship into another entity, which cannot be done here")
        return _linked_matcher(term, path, find)
    if not path.names:
        return _entity_member_matcher(path.member or "", term)
    found = _walk(path.names, _instance_test(path, term))
    if term.operator is Operator.ABSENT:
        return lambda entity: not found(entity.attributes)
    return lambda entity: found(entity.attributes)


def _linked_matcher(term: Term, path: LinkedPath, find: Find) -> Matcher:
    """Some entity that the Relationship points at, of one of the types, meets the rest of the path."""
    absent = term.operator is Operator.ABSENT
    meets = _term_matcher(replace(term, path=path.target, operator=Operator.EXISTS if absent else term.operator), find)
    types = frozenset(path.types)

    def found(entity: ExpandedEntity) -> bool:
        for instance in entity.attributes.get(path.relationship, {}).values():
            for entity_id in _pointed_at(instance):
                linked = find(entity_id)
                if linked is not None and (not types or types & set(linked.types)) and meets(linked):
                    return True
        return False

    return (lambda entity: not found(entity)) if absent else found


def _pointed_at(instance: Instance) -> list[str]:
    """The ids of the entities that an instance points at; none unless it is a Relationship or a list of them."""
    given = instance.get("object", instance.get("objectList", ()))
    return [item for item in _objects([given] if isinstance(given, str) else given) if isinstance(item, str)]


def _walk(names: tuple[str, ...], test: _InstanceTest) -> Callable[[Attributes], bool]:
    """Whether any instance at the end of ``names`` passes ``test``."""
    name, rest = names[0], names[1:]
    deeper = _walk(rest, test) if rest else None

    def found(attributes: Attributes) -> bool:
        instances = attributes.get(name)
        if instances is None:
            return False
        for dataset, instance in instances.items():
            if deeper is None:
                if test(dataset, instance):
                    return True
            elif "attrs" in instance and deeper(instance["attrs"]):
                return True
        return False

    return found


def _entity_member_matcher(member: str, term: Term) -> Matcher:
    """A term about the entity's own ``createdAt``, ``modifiedAt`` or ``expiresAt``."""
    holds = _holds(term, relational=False)
    attribute = {"createdAt": "created_at", "modifiedAt": "modified_at", "expiresAt": "expires_at"}[member]

    def matcher(entity: ExpandedEntity) -> bool:
        moment = getattr(entity, attribute)
        found = holds(None if moment is None else (moment_key(moment) + "Z",))
        return not found if term.operator is Operator.ABSENT else found

    return matcher


def _instance_test(path: AttributePath, term: Term) -> _InstanceTest:
    """A test of one instance at the end of a path; for ``ABSENT`` it tells whether the element is there."""
    plain, relational = _holds(term, relational=False), _holds(term, relational=True)
    if path.member == "datasetId":
        return lambda dataset, _: plain(None if dataset == NO_DATASET else (dataset,))
    if path.member is not None:
        member = path.member
        return lambda _, instance: plain((instance[member],) if member in instance else None)
    trailing = path.trailing

    def test(_: str, instance: Instance) -> bool:
        if "value" in instance and not trailing:
            return plain((instance["value"],))
        holds = relational if instance.get("type") in _POINTING else plain
        return holds(targets_of(instance, trailing))

    return test


def targets_of(instance: Instance, trailing: tuple[str, ...]) -> Targets:
    """The target values of an instance; a language map without a chosen language has several."""
    kind = instance["type"]
    value = instance.get(VALUE_MEMBER[kind])
    if kind == AttributeKind.LANGUAGE_PROPERTY:
        if trailing in ((), ("*",)):
            return None if value is None else value.values()
    elif kind == AttributeKind.LIST_RELATIONSHIP and not trailing:
        return (_objects(value),)
    for name in trailing:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return (value,)


def _objects(value: Any) -> list[Any]:
    """The URIs of an ``objectList``, whose items are URIs or ``{"object": URI}``."""
    return [item["object"] if isinstance(item, dict) and "object" in item else item for item in value or ()]


def _holds(term: Term, *, relational: bool) -> Callable[[Targets], bool]:
    """A test of the target values of one instance; ``relational`` for Relationships, which have no order."""
    operator, operand = term.operator, term.operand
    if operand is None:
        return lambda targets: targets is not None
    if operator in (Operator.EQUAL, Operator.UNEQUAL):
        return _some_or_none(equality_test(operand), wanted=operator is Operator.EQUAL)
    if relational:
        return _never
    if isinstance(operand, Pattern):
        test = pattern_test(operand)
        return _some(test) if operator is Operator.PATTERN else _text_without(test)
    if not isinstance(operand, Value):
        raise ValueError(f"{operator} takes one value")
    return _some(order_test(operator, operand))


def _never(_targets: Targets) -> bool:
    return False


def _some(test: Test) -> Callable[[Targets], bool]:
    return _some_or_none(test, wanted=True)


def _some_or_none(test: Test, *, wanted: bool) -> Callable[[Targets], bool]:
    """Whether the element is there and some target passes (``wanted``), or none does (not ``wanted``)."""

    def holds(targets: Targets) -> bool:
        if targets is None:
            return False
        for target in targets:
            if test(target):
                return wanted
        return not wanted

    return holds


def _text_without(test: Test) -> Callable[[Targets], bool]:
    """Whether some target is a string and no target passes (``!~=``)."""

    def holds(targets: Targets) -> bool:
        kept = [target for target in targets or () if is_text(target)]
        return bool(kept) and not any(test(target) for target in kept)

    return holds
