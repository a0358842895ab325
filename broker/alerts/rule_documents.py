# SPDX-License-Identifier: Apache-2.0
"""Alert rules as documents: reading them with refusals that name the spot, and writing them as they were read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from broker.alerts.conditions import Series, condition_document, parse_condition
from broker.alerts.documents import (
    array_of,
    boolean_of,
    count_of,
    iri_of,
    matching,
    moment_of,
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
from broker.alerts.rules import (
    DEFAULT_CLEAR_AFTER_S,
    DEFAULT_ESCALATE_AFTER_S,
    DEFAULT_HYSTERESIS,
    DEFAULT_SILENT_AFTER_S,
    DEFAULT_UNIT,
    GAUGE,
    REFERENCES,
    AlertRule,
    Confirmation,
    EntitySelector,
    Flapping,
    Level,
    NoData,
    Override,
    scope_pattern,
)
from broker.audiences import Audience
from broker.errors import BadRequestData
from broker.times import to_text
from schemas.stages import NO_DATA, RANK, STAGE_BY_CODE
from schemas.terms import NO_DATASET

_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DECIMALS: Final = 9
_MOST_ESCALATIONS: Final = 10
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
    no_data = _no_data(root.get("noData"))
    levels: tuple[Level, ...] = ()
    if "levels" in root or no_data is None:
        lowered = 0.0 if reference == GAUGE else zero_point
        levels = _levels(root.get("levels"), own, hysteresis, lowered, strict)
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
        confirmation=_confirmation(root.get("confirmation")),
        enabled=boolean_of(root.get("enabled", True), "enabled"),
        reference=reference,
        zero_point=zero_point,
        no_data=no_data,
        silent_after=_optional_seconds(root, "silentAfter", DEFAULT_SILENT_AFTER_S),
        flapping=_flapping(root.get("flapping", {})),
        escalate_after=_escalations(root.get("escalateAfter", list(DEFAULT_ESCALATE_AFTER_S))),
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
        document["levels"] = [_level_document(level, rule) for level in rule.levels]
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
        document["noData"] = _no_data_document(rule.no_data)
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
            _check_order(one.levels)
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


def _levels(value: object, own: Series, hysteresis: float, zero_point: float | None, strict: bool) -> tuple[Level, ...]:
    """Read the levels, lowest first; their thresholds are turned to the gauge's zero."""
    items = array_of(value, "levels")
    levels = tuple(_level(item, f"levels[{n}]", own, hysteresis, zero_point) for n, item in enumerate(items))
    _check_order(levels, stages_only=not strict)
    return levels


def _check_order(levels: tuple[Level, ...], *, stages_only: bool = False) -> None:
    """Levels that hold at the same time ascend."""
    for index, upper in enumerate(levels):
        for lower in (level for level in levels[:index] if _overlap(level, upper)):
            if RANK[upper.stage] <= RANK[lower.stage]:
                raise wrong(f"levels[{index}].stage", f"{upper.stage} does not come after {lower.stage}")
            if stages_only or lower.threshold is None or upper.threshold is None:
                continue
            if upper.threshold <= lower.threshold:
                raise wrong(
                    f"levels[{index}].threshold",
                    f"{upper.threshold:g} ({upper.stage}) is not above {lower.threshold:g} ({lower.stage})",
                )


def _overlap(one: Level, other: Level) -> bool:
    return (one.until is None or other.since is None or other.since < one.until) and (
        other.until is None or one.since is None or one.since < other.until
    )


def _level(value: object, path: str, own: Series, hysteresis: float, zero_point: float | None) -> Level:
    level = object_of(value, path)
    only(level, frozenset({"stage", "threshold", "when", "from", "to"}), path + ".")
    stage = level.get("stage")
    known = [code for code in STAGE_BY_CODE if code != NO_DATA]
    if not isinstance(stage, str) or stage not in known:
        raise wrong(f"{path}.stage", f"{stage!r} is not one of {', '.join(known)}")
    if "when" in level and "threshold" in level:
        raise wrong(path, "either a threshold or a condition (when) is expected")
    since, until = _moment(level, "from", path), _moment(level, "to", path)
    if since is not None and until is not None and since >= until:
        raise wrong(f"{path}.to", "it ends before it begins")
    if "when" in level:
        return Level(stage, None, since, until, parse_condition(level["when"], f"{path}.when", own, hysteresis))
    if level.get("threshold", 0) is None or zero_point is None:
        return Level(stage, None, since, until)
    threshold = number_of(level.get("threshold"), f"{path}.threshold")
    return Level(stage, round(threshold - zero_point, _DECIMALS), since, until)


def _level_document(level: Level, rule: AlertRule) -> dict[str, Any]:
    document: dict[str, Any] = {"stage": level.stage}
    if level.when is not None:
        document["when"] = condition_document(level.when, rule.own)
    elif level.threshold is None or rule.reference == GAUGE:
        document["threshold"] = level.threshold
    else:
        document["threshold"] = round(level.threshold + (rule.zero_point or 0.0), _DECIMALS)
    if level.since is not None:
        document["from"] = to_text(level.since)
    if level.until is not None:
        document["to"] = to_text(level.until)
    return document


def _moment(level: Mapping[str, Any], name: str, path: str) -> datetime | None:
    return None if level.get(name) is None else moment_of(level[name], f"{path}.{name}")


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


def _confirmation(value: object) -> Confirmation:
    if value is None:
        return Confirmation()
    confirmation = object_of(value, "confirmation")
    only(confirmation, frozenset({"count", "seconds"}), "confirmation.")
    count, seconds = confirmation.get("count"), confirmation.get("seconds")
    return Confirmation(
        None if count is None else count_of(count, "confirmation.count"),
        None if seconds is None else seconds_of(seconds, "confirmation.seconds"),
    )


def _no_data(value: object) -> NoData | None:
    if value is None:
        return None
    no_data = object_of(value, "noData")
    only(no_data, frozenset({"after", "activeAfter", "activeFrom", "stage"}), "noData.")
    if ("activeAfter" in no_data) != ("activeFrom" in no_data):
        raise wrong("noData", "activeAfter and activeFrom are expected together")
    stage = no_data.get("stage", NO_DATA)
    if not isinstance(stage, str) or stage not in STAGE_BY_CODE:
        raise wrong("noData.stage", f"{stage!r} is not one of {', '.join(STAGE_BY_CODE)}")
    after = seconds_of(no_data.get("after"), "noData.after")
    if not after:
        raise wrong("noData.after", "0 is not above 0")
    if "activeFrom" not in no_data:
        return NoData(after, stage=stage)
    active = seconds_of(no_data["activeAfter"], "noData.activeAfter")
    return NoData(after, active, number_of(no_data["activeFrom"], "noData.activeFrom"), stage)


def _no_data_document(no_data: NoData) -> dict[str, Any]:
    document: dict[str, Any] = {"after": no_data.after.total_seconds(), "stage": no_data.stage}
    if no_data.active_after is not None:
        document |= {"activeAfter": no_data.active_after.total_seconds(), "activeFrom": no_data.active_from}
    return document


def _flapping(value: object) -> Flapping | None:
    if value is None:
        return None
    flapping = object_of(value, "flapping")
    only(flapping, frozenset({"count", "seconds"}), "flapping.")
    usual = Flapping()
    count = count_of(flapping.get("count", usual.count), "flapping.count")
    if count < 2:
        raise wrong("flapping.count", "a level that is raised once does not flap")
    return Flapping(count, seconds_of(flapping.get("seconds", usual.within.total_seconds()), "flapping.seconds"))


def _escalations(value: object) -> tuple[timedelta, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ESCALATIONS:
        raise wrong("escalateAfter", f"an array of at most {_MOST_ESCALATIONS} numbers is expected")
    steps = tuple(seconds_of(item, f"escalateAfter[{n}]") for n, item in enumerate(value))
    for index in range(1, len(steps)):
        if steps[index] <= steps[index - 1]:
            raise wrong(f"escalateAfter[{index}]", "each step comes after the one before")
    return steps


def _optional_seconds(root: Mapping[str, Any], name: str, default: float) -> timedelta | None:
    value = root.get(name, default)
    return None if value is None else seconds_of(value, name)
