# SPDX-License-Identifier: Apache-2.0
"""Terms of ``q`` as SQL conditions over the ``document`` of an entity (clause 4.9); part of ``query_sql``.

What a term means is decided in ``broker.query.match`` and ``broker.query.comparison``; this says the same to
PostgreSQL, and a table of cases and random trees prove that they agree. Every value is bound. No comparison can
raise for data of another type: JSON is compared as ``jsonb``, text only where ``jsonb_typeof`` says string, and times
by their text (see ``temporal_key``), never by a cast.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, LiteralString

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from broker.query.comparison import TEMPORAL_SHAPES, equal_texts, values_of
from broker.query.patterns import compile_pattern
from broker.query.tree import (
    AttributePath,
    LinkedPath,
    Operand,
    Operator,
    Pattern,
    Range,
    Term,
    Value,
    ValueKind,
)
from schemas.terms import NO_DATASET

Condition = sa.ColumnElement[bool]
Json = sa.ColumnElement[Any]

VALUE_MEMBERS: Final[tuple[LiteralString, ...]] = ("value", "json", "valueList", "vocab")
_WITHOUT_TEXT: Final = frozenset({ValueKind.NUMBER, ValueKind.BOOLEAN})  # kinds that no text can equal
_ENTITY_TIMES: Final = {"createdAt": "created_at", "modifiedAt": "modified_at", "expiresAt": "expires_at"}
FRACTION_ZEROS: Final = "([.]0+|([.][0-9]*[1-9])0*)?Z$"
_ORDER: Final = {
    Operator.GREATER: ">",
    Operator.GREATER_EQUAL: ">=",
    Operator.LESS: "<",
    Operator.LESS_EQUAL: "<=",
}


@dataclass(frozen=True, slots=True)
class Source:
    """The entity that a condition is about: the table (or an alias of it), and the tenant to stay within.

    ``now`` is when it is asked about: what has expired then is not there, collected or not. Without it, what is
    stored is what there is.
    """

    table: sa.FromClause
    tenant: sa.BindParameter[int]
    now: sa.BindParameter[datetime] | None = None

    @property
    def document(self) -> Json:
        """The attributes that are there."""
        columns = self.table.c
        if self.now is None:
            return columns.document
        live = sa.func.live_attributes(columns.document, self.now, type_=JSONB())
        return sa.case((self.may_have_expired, live), else_=columns.document)

    @property
    def may_have_expired(self) -> Condition:
        """Whether attributes are still stored that are not there any more."""
        due = self.table.c.attributes_expire_at
        return sa.false() if self.now is None else sa.and_(due.is_not(None), due <= self.now)

    @property
    def is_there(self) -> Condition:
        """Whether the entity itself has not expired."""
        expires_at = self.table.c.expires_at
        return sa.true() if self.now is None else sa.or_(expires_at.is_(None), expires_at > self.now)


def text_array(values: list[str] | tuple[str, ...]) -> sa.ColumnElement[Any]:
    """A bound ``text[]``."""
    return sa.cast(sa.literal(list(values), ARRAY(sa.Text)), ARRAY(sa.Text))


def term_condition(term: Term, source: Source) -> Condition:
    """The condition that ``term`` sets for the entity of ``source``."""
    found = _path_condition(term, term.path, source)
    return sa.not_(found) if term.operator is Operator.ABSENT else found


def _path_condition(term: Term, path: AttributePath | LinkedPath, source: Source) -> Condition:
    if isinstance(path, LinkedPath):
        return _linked_condition(term, path, source)
    if not path.names:
        return sa.func.coalesce(_single_condition(term, _entity_time(path.member or "", source)), sa.false())
    froms, key, body = path_instances(path.names, source)
    condition = _instance_condition(term, path, key, body)
    return sa.exists(sa.select(sa.literal_column("1")).select_from(*froms).where(condition))


def _linked_condition(term: Term, path: LinkedPath, source: Source) -> Condition:
    """Some entity that the Relationship points at, of one of the types, meets the rest of the path."""
    instances = _each(member_of(source.document, path.relationship))
    objects = sa.func.coalesce(
        member_of(instances.c.value, fixed("object")), member_of(instances.c.value, fixed("objectList"))
    )
    items = _path_query(objects, "$[*]")
    item_id = sa.func.coalesce(as_text(member_of(items.c.item, fixed("object"))), as_text(items.c.item))
    linked = source.table.alias() if isinstance(source.table, sa.Table) else _entity_of(source).alias()
    target = replace(source, table=linked)
    conditions = [linked.c.tenant_id == source.tenant, linked.c.id == item_id, target.is_there]
    if path.types:
        conditions.append(linked.c.types.op("&&")(text_array(path.types)))
    conditions.append(_path_condition(term, path.target, target))
    return sa.exists(sa.select(sa.literal_column("1")).select_from(instances, items, linked).where(*conditions))


def _entity_of(source: Source) -> sa.Table:
    element = source.table
    while isinstance(element, sa.Alias):
        element = element.element
    if not isinstance(element, sa.Table):
        raise TypeError("the source of a condition is a table or an alias of one")
    return element


def _each(value: Json) -> sa.TableValuedAlias:
    """``jsonb_each``: rows of key and value; none when ``value`` is null."""
    each = sa.func.jsonb_each(value).table_valued(sa.column("key", sa.Text), sa.column("value", JSONB))
    return each.render_derived()


def _path_query(value: Json, path: LiteralString) -> sa.TableValuedAlias:
    """``jsonb_path_query`` with a fixed path: rows of one item; none when ``value`` is null."""
    items = sa.func.jsonb_path_query(value, fixed(path))
    return items.table_valued(sa.column("item", JSONB)).render_derived()


def member_of(value: Json, key: str | sa.ColumnElement[str]) -> Json:
    """``value -> key``; a key that comes from a query is bound."""
    name = sa.literal(key, sa.Text) if isinstance(key, str) else key
    return value.op("->", return_type=JSONB())(name)


def fixed(name: LiteralString) -> sa.ColumnElement[str]:
    """A name that the code itself sets, as a constant: the statement is shorter and sooner compiled."""
    return sa.literal_column(f"'{name}'", sa.Text)


def as_text(value: Json) -> sa.ColumnElement[Any]:
    """The text of a JSON string, compared by code points."""
    return value.op("#>>", return_type=sa.Text())(sa.literal_column("'{}'"))


def _has_languages(body: Json) -> Condition:
    return body.op("?", return_type=sa.Boolean())(fixed("languageMap"))


def path_instances(names: tuple[str, ...], source: Source) -> tuple[list[sa.FromClause], Json, Json]:
    """The instances at the end of a path as FROM items, with the columns for datasetId and instance."""
    attributes: Json = source.document
    froms: list[sa.FromClause] = []
    for name in names:
        if froms:
            attributes = member_of(froms[-1].c.value, fixed("attrs"))
        froms.append(_each(member_of(attributes, name)))
    return froms, froms[-1].c.key, froms[-1].c.value


def _instance_condition(term: Term, path: AttributePath, key: Json, body: Json) -> Condition:
    """What one instance has to meet."""
    if path.member == "datasetId":
        dataset = sa.case((key != NO_DATASET, sa.func.to_jsonb(key)), else_=sa.null())
        return _single_condition(term, dataset)
    if path.member is not None:
        return _single_condition(term, member_of(body, path.member))
    if path.trailing and path.trailing != ("*",):
        value = first_of(body, (*VALUE_MEMBERS, "languageMap"))
        inner = value.op("#>", return_type=JSONB())(text_array(path.trailing))
        return _single_condition(term, inner)
    return _whole_condition(term, path, body)


def first_of(body: Json, members: tuple[LiteralString, ...]) -> Json:
    return sa.func.coalesce(*(member_of(body, fixed(member)) for member in members), type_=JSONB())


def _entity_time(member: str, source: Source) -> Json:
    """``createdAt`` and its like as a JSON string in the canonical form; null when the entity has none."""
    moment = sa.func.timezone(fixed("UTC"), source.table.c[_ENTITY_TIMES[member]])
    digits = sa.func.to_char(moment, fixed('YYYY-MM-DD"T"HH24:MI:SS.US'))
    return sa.func.to_jsonb(sa.func.rtrim(sa.func.rtrim(digits, fixed("0")), fixed(".")).concat(fixed("Z")))


def _single_condition(term: Term, target: Json) -> Condition:
    """The condition on one target value, which is not there when it is null."""
    operator, operand = term.operator, term.operand
    if operand is None:
        return target.is_not(None)
    if operator is Operator.EQUAL:
        return _equal(operand, target)
    if operator is Operator.UNEQUAL:
        return sa.and_(target.is_not(None), sa.not_(_equal(operand, target)))
    if isinstance(operand, Pattern):
        return _pattern(operand, target, wanted=operator is Operator.PATTERN)
    if not isinstance(operand, Value):
        raise TypeError(f"{operator} takes one value")
    return _ordered(operator, operand, target)


def _whole_condition(term: Term, path: AttributePath, body: Json) -> Condition:
    """The condition on the whole value of an instance, whatever kind of attribute it is."""
    operator, operand = term.operator, term.operand
    equality = operator in (Operator.EQUAL, Operator.UNEQUAL)
    value = first_of(body, (*VALUE_MEMBERS, "object") if equality else VALUE_MEMBERS)
    whole = not path.trailing
    if not whole:  # [*]: any language, and nothing else has such a member
        value = value.op("#>", return_type=JSONB())(text_array(path.trailing))
    there = sa.or_(value.is_not(None), _has_languages(body)) if path.trailing else sa.true()
    if operand is None:
        return there
    if operator is Operator.NOT_PATTERN:
        return sa.or_(_single_condition(term, value), _languages_without(term, body))
    if operator is Operator.UNEQUAL:
        equal = _any_target(operand, body, value, lambda target: _equal(operand, target), whole=whole)
        return sa.and_(there, sa.not_(equal))
    return _any_target(operand, body, value, lambda target: _single_condition(term, target), whole=whole)


def _any_target(
    operand: Operand, body: Json, value: Json, condition: Callable[[Json], Condition], *, whole: bool
) -> Condition:
    """Whether the value, some language's value or some object of a list meets ``condition``; never null."""
    conditions: list[Condition] = [sa.func.coalesce(condition(value), sa.false())]
    if not _only_numbers(operand):
        languages = _language_values(body)
        conditions.append(sa.and_(_has_languages(body), _exists_in(languages, condition(languages.c.item))))
    texts = [text for literal in values_of(operand) for text in _object_texts(literal)]
    if texts and whole:
        objects = [_json([{"object": text}]) for text in texts] + [_json(text) for text in texts]
        conditions.append(sa.func.coalesce(_contains_any(member_of(body, fixed("objectList")), objects), sa.false()))
    return sa.or_(*conditions)


def _only_numbers(operand: Operand) -> bool:
    """Whether nothing but numbers and Booleans is asked for, which no language map holds."""
    if isinstance(operand, Range):
        return operand.low.kind in _WITHOUT_TEXT
    return not isinstance(operand, Pattern) and all(value.kind in _WITHOUT_TEXT for value in values_of(operand))


def _object_texts(value: Value) -> tuple[str, ...]:
    return () if value.kind in _WITHOUT_TEXT else equal_texts(value)


def _language_values(body: Json) -> sa.TableValuedAlias:
    return _path_query(body, "$.languageMap.*")


def _exists_in(rows: sa.TableValuedAlias, condition: Condition) -> Condition:
    return sa.exists(sa.select(sa.literal_column("1")).select_from(rows).where(condition))


def _languages_without(term: Term, body: Json) -> Condition:
    """``!~=`` on a language map: some language's value is a string, and none matches."""
    if not isinstance(term.operand, Pattern):
        raise TypeError(f"{term.operator} takes a pattern")
    some, hits = _language_values(body), _language_values(body)
    return sa.and_(
        _has_languages(body),
        _exists_in(some, is_json("string", some.c.item)),
        sa.not_(_exists_in(hits, _pattern(term.operand, hits.c.item, wanted=True))),
    )


def is_json(json_type: LiteralString, target: Json) -> Condition:
    return sa.func.jsonb_typeof(target) == fixed(json_type)


def typed(target: Json) -> Json:
    """The value of a JSON-LD typed value, or the target itself."""
    return sa.func.coalesce(member_of(target, fixed("@value")), target, type_=JSONB())


def _equal(operand: Operand, target: Json) -> Condition:
    """Whether the target is one of the values, includes one, or lies in the range."""
    if isinstance(operand, Range):
        return sa.and_(
            _ordered(Operator.GREATER_EQUAL, operand.low, target),
            _ordered(Operator.LESS_EQUAL, operand.high, target),
        )
    literals = [literal for value in values_of(operand) for literal in _equal_json(value)]
    wrapped = [f'{{"@value": {literal}}}' for literal in literals]
    return _contains_any(target, [*literals, *wrapped, *(f"[{literal}]" for literal in wrapped)])


def _contains_any(target: Json, literals: list[str]) -> Condition:
    """Whether the target contains any of the JSON texts: ``@>`` finds a scalar itself, and in an array."""
    return target.op("@>", return_type=sa.Boolean())(sa.any_(sa.cast(text_array(literals), ARRAY(JSONB))))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _equal_json(value: Value) -> tuple[str, ...]:
    """The JSON texts that are equal to a value."""
    if value.kind in (ValueKind.NUMBER, ValueKind.BOOLEAN):
        return (json.dumps(value.content),)
    return tuple(map(_json, equal_texts(value)))


def _ordered(operator: Operator, value: Value, target: Json) -> Condition:
    """``> >= < <=`` for a target of the same data type."""
    scalar, symbol = typed(target), _ORDER[operator]
    if value.kind is ValueKind.NUMBER:
        limit = sa.cast(sa.literal(json.dumps(value.content), sa.Text), JSONB)
        return sa.and_(is_json("number", scalar), scalar.op(symbol, return_type=sa.Boolean())(limit))
    text: sa.ColumnElement[Any] = as_text(scalar)
    conditions = [is_json("string", scalar)]
    if value.kind is not ValueKind.TEXT:
        conditions.append(text.op("~", return_type=sa.Boolean())(sa.literal(TEMPORAL_SHAPES[value.kind], sa.Text)))
    if value.kind in (ValueKind.DATE_TIME, ValueKind.TIME):
        text = sa.func.regexp_replace(text, FRACTION_ZEROS, r"\2", type_=sa.Text())
    limit_text = sa.literal(str(value.content), sa.Text)
    return sa.and_(*conditions, sa.collate(text, "C").op(symbol, return_type=sa.Boolean())(limit_text))


def _pattern(pattern: Pattern, target: Json, *, wanted: bool) -> Condition:
    """Whether the target is a string that matches (``wanted``), or a string that does not."""
    scalar = typed(target)
    return sa.and_(is_json("string", scalar), pattern_condition(pattern.text, as_text(scalar), wanted=wanted))


def pattern_condition(pattern: str, text: sa.ColumnElement[Any], *, wanted: bool = True) -> Condition:
    """``~`` or ``!~`` in the dialect of ``broker.query.patterns``, whose classes are those of collation C."""
    symbol = "~" if wanted else "!~"
    posix = sa.literal(compile_pattern(pattern).posix, sa.Text)
    return sa.collate(text, "C").op(symbol, return_type=sa.Boolean())(posix)
