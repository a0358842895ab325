# SPDX-License-Identifier: Apache-2.0
"""Threshold rules: which attribute of which entities is watched, and at which named stages it raises alerts.

A rule travels as one JSON document (API, YAML import, table ``alert_rule``)::

    {"id": "tomoe-level", "name": {"ja": "巴川の水位", "en": "Tomoe river level"}, "enabled": true,
     "entities": {"ids": ["urn:ngsi-ld:WaterObserved:22100:001"]},      or {"type": IRI}
     "attribute": IRI, "datasetId": URI?, "unitCode": "MTR",
     "levels": [{"stage": "caution", "threshold": 0.9}, {"stage": "danger", "threshold": 1.5}],
     "hysteresis": 0.1, "clearAfter": 1800, "confirmation": {"count": 2, "seconds": 600}}

Names of types and attributes are expanded IRIs: whoever takes a rule from a user expands them first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from broker.errors import BadRequestData
from schemas.stages import STAGE_BY_CODE, Stage
from schemas.terms import NO_DATASET

DEFAULT_HYSTERESIS: Final = 0.10  # metres, or whatever the rule's unit is
DEFAULT_CLEAR_AFTER_S: Final = 30 * 60  # 30 minutes
DEFAULT_UNIT: Final = "MTR"  # UN/CEFACT Recommendation 20: metre

_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IRI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
_UNIT_CODE: Final = re.compile(r"[A-Z0-9]{2,3}")  # UN/CEFACT Recommendation 20
_MEMBERS: Final = frozenset(
    {
        "id",
        "name",
        "enabled",
        "entities",
        "attribute",
        "datasetId",
        "unitCode",
        "levels",
        "hysteresis",
        "clearAfter",
        "confirmation",
    }
)


@dataclass(frozen=True, slots=True)
class Level:
    """One stage of a rule and the value (in the rule's unit) from which on it is reached."""

    stage: str
    threshold: float

    @property
    def named(self) -> Stage:
        """The stage with its names, order, colour and severity."""
        return STAGE_BY_CODE[self.stage]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How long a level must be reached before it is raised; with both members set, either one is enough.

    ``count``: so many consecutive samples at or above the threshold. ``duration``: samples at or above it
    over so much observation time. Neither: the first sample raises.
    """

    count: int | None = None
    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class EntitySelector:
    """Which entities a rule watches: either the listed ids, or all of one type (an IRI)."""

    ids: tuple[str, ...] = ()
    type: str | None = None

    def matches(self, entity_id: str, types: tuple[str, ...]) -> bool:
        """Tell whether the entity is watched."""
        return entity_id in self.ids if self.type is None else self.type in types


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A threshold rule; ``levels`` ascend strictly in stage order and in threshold.

    A level is raised at ``value >= threshold`` (after ``confirmation``) and cleared by the sample that
    completes ``clear_after`` below ``threshold - hysteresis``. All numbers are in ``unit_code``.
    """

    id: str
    entities: EntitySelector
    attribute: str
    levels: tuple[Level, ...]
    name_ja: str
    name_en: str
    dataset: str = NO_DATASET
    unit_code: str = DEFAULT_UNIT
    hysteresis: float = DEFAULT_HYSTERESIS
    clear_after: timedelta = timedelta(seconds=DEFAULT_CLEAR_AFTER_S)
    confirmation: Confirmation = field(default_factory=Confirmation)
    enabled: bool = True


def parse_rule(document: Mapping[str, Any]) -> AlertRule:
    """Read a rule document.

    Raises :class:`BadRequestData` whose detail begins with the path of what is wrong
    (``levels[1].threshold: ...``). Unknown members are refused: a misspelt ``hysteresis`` must not silently
    become the default.
    """
    root = _object(document, "rule")
    _only(root, _MEMBERS, "")
    name_ja, name_en = _names(root.get("name"))
    dataset = root.get("datasetId")
    return AlertRule(
        id=_matching(root.get("id"), "id", _RULE_ID, "1 to 100 letters, digits, '.', '_' or '-'"),
        entities=_selector(root.get("entities")),
        attribute=_iri(root.get("attribute"), "attribute"),
        levels=_levels(root.get("levels")),
        name_ja=name_ja,
        name_en=name_en,
        dataset=NO_DATASET if dataset is None else _iri(dataset, "datasetId"),
        unit_code=_matching(root.get("unitCode", DEFAULT_UNIT), "unitCode", _UNIT_CODE, "a unit code"),
        hysteresis=_not_negative(root.get("hysteresis", DEFAULT_HYSTERESIS), "hysteresis"),
        clear_after=_seconds(root.get("clearAfter", DEFAULT_CLEAR_AFTER_S), "clearAfter"),
        confirmation=_confirmation(root.get("confirmation")),
        enabled=_boolean(root.get("enabled", True), "enabled"),
    )


def rule_document(rule: AlertRule) -> dict[str, Any]:
    """Write ``rule`` as the document that :func:`parse_rule` reads; defaults are written out."""
    watched = rule.entities
    document: dict[str, Any] = {
        "id": rule.id,
        "name": {"ja": rule.name_ja, "en": rule.name_en},
        "enabled": rule.enabled,
        "entities": {"ids": list(watched.ids)} if watched.type is None else {"type": watched.type},
        "attribute": rule.attribute,
        "unitCode": rule.unit_code,
        "levels": [{"stage": level.stage, "threshold": level.threshold} for level in rule.levels],
        "hysteresis": rule.hysteresis,
        "clearAfter": rule.clear_after.total_seconds(),
    }
    if rule.dataset != NO_DATASET:
        document["datasetId"] = rule.dataset
    confirmation: dict[str, Any] = {}
    if rule.confirmation.count is not None:
        confirmation["count"] = rule.confirmation.count
    if rule.confirmation.duration is not None:
        confirmation["seconds"] = rule.confirmation.duration.total_seconds()
    if confirmation:
        document["confirmation"] = confirmation
    return document


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
            raise _wrong(path, f"rule {old.id} watches {was}; a rule about {becomes} needs an id of its own")


def _levels(value: object) -> tuple[Level, ...]:
    """Read the levels, lowest first."""
    items = _array(value, "levels")
    levels = tuple(_level(item, f"levels[{index}]") for index, item in enumerate(items))
    for index in range(1, len(levels)):
        lower, upper = levels[index - 1], levels[index]
        if upper.named.order <= lower.named.order:
            raise _wrong(f"levels[{index}].stage", f"{upper.stage} does not come after {lower.stage}")
        if upper.threshold <= lower.threshold:
            raise _wrong(
                f"levels[{index}].threshold",
                f"{upper.threshold:g} ({upper.stage}) is not above {lower.threshold:g} ({lower.stage})",
            )
    return levels


def _level(value: object, path: str) -> Level:
    level = _object(value, path)
    _only(level, frozenset({"stage", "threshold"}), path + ".")
    stage = level.get("stage")
    if not isinstance(stage, str) or stage not in STAGE_BY_CODE:
        raise _wrong(f"{path}.stage", f"{stage!r} is not one of {', '.join(STAGE_BY_CODE)}")
    return Level(stage, _number(level.get("threshold"), f"{path}.threshold"))


def _selector(value: object) -> EntitySelector:
    selector = _object(value, "entities")
    _only(selector, frozenset({"ids", "type"}), "entities.")
    if ("ids" in selector) == ("type" in selector):
        raise _wrong("entities", "exactly one of ids and type is expected")
    if "type" in selector:
        return EntitySelector(type=_iri(selector["type"], "entities.type"))
    ids = _array(selector["ids"], "entities.ids")
    parsed = tuple(_iri(item, f"entities.ids[{index}]") for index, item in enumerate(ids))
    return EntitySelector(ids=tuple(dict.fromkeys(parsed)))


def _confirmation(value: object) -> Confirmation:
    if value is None:
        return Confirmation()
    confirmation = _object(value, "confirmation")
    _only(confirmation, frozenset({"count", "seconds"}), "confirmation.")
    count, seconds = confirmation.get("count"), confirmation.get("seconds")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise _wrong("confirmation.count", f"{count!r} is not a whole number of at least 1")
    return Confirmation(count, None if seconds is None else _seconds(seconds, "confirmation.seconds"))


def _names(value: object) -> tuple[str, str]:
    """The Japanese and the English name; one stands in for the other."""
    names = _object(value, "name")
    _only(names, frozenset({"ja", "en"}), "name.")
    for language, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise _wrong(f"name.{language}", f"{name!r} is not a name")
    if not names:
        raise _wrong("name", "a name in ja or en is expected")
    return names.get("ja") or names["en"], names.get("en") or names["ja"]


def _object(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(path, f"an object is expected, not {_shown(value)}")
    return value


def _only(value: Mapping[str, Any], members: frozenset[str], prefix: str) -> None:
    for name in value:
        if name not in members:
            raise _wrong(f"{prefix}{name}", f"unknown member; known are {', '.join(sorted(members))}")


def _array(value: object, path: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _wrong(path, f"an array of at least one item is expected, not {_shown(value)}")
    return value


def _matching(value: object, path: str, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _wrong(path, f"{expected} is expected, not {_shown(value)}")
    return value


def _iri(value: object, path: str) -> str:
    return _matching(value, path, _IRI, "an absolute IRI")


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(path, f"a number is expected, not {_shown(value)}")
    return float(value)


def _not_negative(value: object, path: str) -> float:
    number = _number(value, path)
    if number < 0:
        raise _wrong(path, f"{number:g} is below 0")
    return number


def _seconds(value: object, path: str) -> timedelta:
    try:
        return timedelta(seconds=_not_negative(value, path))
    except OverflowError:
        raise _wrong(path, f"{_shown(value)} seconds are too long") from None


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, f"true or false is expected, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """``value`` as an error message shows it: nothing, or at most 60 characters of it."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(path: str, message: str) -> BadRequestData:
    return BadRequestData(f"{path}: {message}")
