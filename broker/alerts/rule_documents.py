# SPDX-License-Identifier: Apache-2.0
"""Alert rules as documents: reading them with refusals that name the spot, and writing them as they were read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from broker.alerts.conditions import Series
from broker.alerts.documents import (
    array_of,
    boolean_of,
    iri_of,
    matching,
    names_of,
    not_negative,
    number_of,
    object_of,
    only,
    seconds_of,
    shown,
    unit_of,
    wrong,
)
from broker.alerts.rule_audience import rule_audience
from broker.alerts.rule_levels import check_order, level_document, levels_of
from broker.alerts.rule_timers import (
    confirmation_of,
    escalations_of,
    flapping_of,
    no_data_document,
    no_data_of,
    optional_seconds,
)
from broker.alerts.rules import (
    DEFAULT_CLEAR_AFTER_S,
    DEFAULT_ESCALATE_AFTER_S,
    DEFAULT_HYSTERESIS,
    DEFAULT_SILENT_AFTER_S,
    DEFAULT_UNIT,
    GAUGE,
    REFERENCES,
    AlertRule,
    EntitySelector,
    Flapping,
    Level,
    Override,
    scope_pattern,
)
from broker.audiences import Audience
from broker.errors import BadRequestData
from schemas.terms import NO_DATASET

_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOST_OVERRIDES: Final = 10_000
_OVERRIDABLE: Final = frozenset(
    {
        "enabled",
        "levels",
        "hysteresis",
        "clearAfter",
        "confirmation",
        "reference",
        "zeroPoint",
        "noData",
        "silentAfter",
        "flapping",
        "escalateAfter",
    }
)
_MEMBERS: Final = _OVERRIDABLE | {
    "id",
    "name",
    "entities",
    "attribute",
    "datasetId",
    "unitCode",
    "overrides",
    "audience",
}


def parse_rule(document: Mapping[str, Any], *, strict: bool = True) -> AlertRule:
    """Read a rule document.

    Raises :class:`BadRequestData` whose detail begins with the path of what is wrong
    (``levels[1].threshold: ...``). Unknown members are refused: a misspelt ``hysteresis`` must not silently
    become the default. Not ``strict``: thresholds need not ascend (real stations have such); :func:`warnings_of` says.
    """
    root = object_of(document, "rule")
    only(root, _MEMBERS, "")
    overrides = object_of(root.get("overrides", {}), "overrides")
    if len(overrides) > _MOST_OVERRIDES:
        raise wrong("overrides", f"more than {_MOST_OVERRIDES}")
    base = {name: value for name, value in root.items() if name != "overrides"}
    return _rule(base, {iri_of(i, "overrides"): _override(base, i, o, strict) for i, o in overrides.items()}, strict)


def _rule(root: Mapping[str, Any], overrides: dict[str, Override], strict: bool) -> AlertRule:
    name_ja, name_en = names_of(root.get("name"))
    dataset = root.get("datasetId")
    rule_id = matching(root.get("id"), "id", _RULE_ID, "1 to 100 letters, digits, '.', '_' or '-'")
    own = Series(
        iri_of(root.get("attribute"), "attribute"), NO_DATASET if dataset is None else iri_of(dataset, "datasetId")
    )
    hysteresis = not_negative(root.get("hysteresis", DEFAULT_HYSTERESIS), "hysteresis")
    reference, zero_point = _reference(root)
    no_data = no_data_of(root.get("noData"))
    levels: tuple[Level, ...] = ()
    if "levels" in root or no_data is None:
        lowered = 0.0 if reference == GAUGE else zero_point
        levels = levels_of(root.get("levels"), own, hysteresis, lowered, strict)
    return AlertRule(
        id=rule_id,
        entities=_selector(root.get("entities")),
        attribute=own.attribute,
        levels=levels,
        name_ja=name_ja,
        name_en=name_en,
        dataset=own.dataset,
        unit_code=unit_of(root.get("unitCode", DEFAULT_UNIT), "unitCode"),
        hysteresis=hysteresis,
        clear_after=seconds_of(root.get("clearAfter", DEFAULT_CLEAR_AFTER_S), "clearAfter"),
        confirmation=confirmation_of(root.get("confirmation")),
        enabled=boolean_of(root.get("enabled", True), "enabled"),
        reference=reference,
        zero_point=zero_point,
        no_data=no_data,
        silent_after=optional_seconds(root, "silentAfter", DEFAULT_SILENT_AFTER_S),
        flapping=flapping_of(root.get("flapping", {})),
        escalate_after=escalations_of(root.get("escalateAfter", list(DEFAULT_ESCALATE_AFTER_S))),
        overrides=overrides,
        audience=rule_audience(root, levels),
    )


def rule_document(rule: AlertRule) -> dict[str, Any]:
    """Write ``rule`` as the document that :func:`parse_rule` reads; the usual defaults are written out."""
    watched = rule.entities
    document: dict[str, Any] = {
        "id": rule.id,
        "name": {"ja": rule.name_ja, "en": rule.name_en},
        "enabled": rule.enabled,
        "entities": {"ids": list(watched.ids)} if watched.type is None else {"type": watched.type},
        "attribute": rule.attribute,
        "unitCode": rule.unit_code,
        "hysteresis": rule.hysteresis,
        "clearAfter": rule.clear_after.total_seconds(),
    }
    if rule.levels:
        document["levels"] = [level_document(level, rule) for level in rule.levels]
    if watched.scope is not None:
        document["entities"]["scope"] = watched.scope
    if rule.dataset != NO_DATASET:
        document["datasetId"] = rule.dataset
    confirmation: dict[str, Any] = {}
    if rule.confirmation.count is not None:
        confirmation["count"] = rule.confirmation.count
    if rule.confirmation.duration is not None:
        confirmation["seconds"] = rule.confirmation.duration.total_seconds()
    if confirmation:
        document["confirmation"] = confirmation
    return document | _less_usual(rule)


def override_members(rule: AlertRule) -> dict[str, Any]:
    """Everything that an override can say, as ``rule`` has it; defaults are written out."""
    flapping = rule.flapping
    usual: dict[str, Any] = {
        "confirmation": {},
        "reference": GAUGE,
        "zeroPoint": None,
        "noData": None,
        "silentAfter": DEFAULT_SILENT_AFTER_S,
        "flapping": flapping and {"count": flapping.count, "seconds": flapping.within.total_seconds()},
        "escalateAfter": list(DEFAULT_ESCALATE_AFTER_S),
    }
    return usual | {name: value for name, value in rule_document(rule).items() if name in _OVERRIDABLE}


def _less_usual(rule: AlertRule) -> dict[str, Any]:
    """Members that most rules leave alone."""
    document: dict[str, Any] = {} if rule.audience is Audience.STAFF else {"audience": rule.audience.word}
    if rule.reference != GAUGE:
        document["reference"] = rule.reference
    if rule.zero_point is not None:
        document["zeroPoint"] = rule.zero_point
    if rule.no_data is not None:
        document["noData"] = no_data_document(rule.no_data)
    if rule.silent_after != timedelta(seconds=DEFAULT_SILENT_AFTER_S):
        document["silentAfter"] = rule.silent_after.total_seconds() if rule.silent_after else None
    if rule.flapping is None:
        document["flapping"] = None
    elif rule.flapping != Flapping():
        document["flapping"] = {"count": rule.flapping.count, "seconds": rule.flapping.within.total_seconds()}
    if (steps := tuple(step.total_seconds() for step in rule.escalate_after)) != DEFAULT_ESCALATE_AFTER_S:
        document["escalateAfter"] = list(steps)
    if rule.overrides:
        document["overrides"] = {entity_id: dict(override.members) for entity_id, override in rule.overrides.items()}
    return document


def warnings_of(rule: AlertRule) -> list[str]:
    """What is allowed and probably not meant: levels that do not ascend, datums that cannot be turned."""
    found = []
    for path, one in [("", rule), *((f"overrides.{i}.", o.rule) for i, o in rule.overrides.items())]:
        try:
            check_order(one.levels)
        except BadRequestData as exc:
            found.append(f"{path}{exc.detail}")
        if one.reference != GAUGE and one.zero_point is None and one.levels:
            found.append(f"{path}zeroPoint: thresholds from {one.reference} cannot be compared without it")
    return found


def check_replacement(old: AlertRule, new: AlertRule) -> None:
    """Refuse to turn a rule into one about another series: its state and open alerts speak of the old one.

    Raises :class:`BadRequestData` when attribute, datasetId or unit differ.
    """
    for path, was, becomes in (
        ("attribute", old.attribute, new.attribute),
        ("datasetId", old.dataset, new.dataset),
        ("unitCode", old.unit_code, new.unit_code),
    ):
        if was != becomes:
            raise wrong(path, f"rule {old.id} watches {was}; a rule about {becomes} needs an id of its own")


def _override(base: Mapping[str, Any], entity_id: str, value: object, strict: bool) -> Override:
    path = f"overrides.{entity_id}"
    members = object_of(value, path)
    only(members, _OVERRIDABLE, f"{path}.")
    try:
        return Override(members, _rule({**base, **members, "entities": {"ids": [entity_id]}}, {}, strict))
    except BadRequestData as exc:
        raise BadRequestData(f"{path}.{exc.detail}") from exc


def _reference(root: Mapping[str, Any]) -> tuple[str, float | None]:
    reference = root.get("reference", GAUGE)
    if reference not in REFERENCES:
        raise wrong("reference", f"{reference!r} is not one of {', '.join(REFERENCES)}")
    zero_point = root.get("zeroPoint")
    return reference, None if zero_point is None else number_of(zero_point, "zeroPoint")


def _selector(value: object) -> EntitySelector:
    selector = object_of(value, "entities")
    only(selector, frozenset({"ids", "type", "scope"}), "entities.")
    if ("ids" in selector) == ("type" in selector):
        raise wrong("entities", "exactly one of ids and type is expected")
    if "type" in selector:
        return EntitySelector(type=iri_of(selector["type"], "entities.type"), scope=_scope(selector.get("scope")))
    if "scope" in selector:
        raise wrong("entities.scope", "it narrows a type, not ids")
    ids = array_of(selector["ids"], "entities.ids")
    parsed = tuple(iri_of(item, f"entities.ids[{index}]") for index, item in enumerate(ids))
    return EntitySelector(ids=tuple(dict.fromkeys(parsed)))


def _scope(value: object) -> str | None:
    if value is None:
        return None
    try:
        scope_pattern(value)
    except (BadRequestData, ValueError, TypeError, AttributeError):
        raise wrong("entities.scope", f"a scope such as /Shizuoka/# is expected, not {shown(value)}") from None
    return str(value)
