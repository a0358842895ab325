# SPDX-License-Identifier: Apache-2.0
"""Alert rules: which values of which entities are watched, and at which named stages they raise alerts.

A rule travels as one JSON document (API, YAML import, table ``alert_rule``; docs/alert-rules.md has every member)::

    {"id": "tomoe-level", "name": {"ja": "巴川の水位", "en": "Tomoe river level"}, "enabled": true,
     "entities": {"ids": ["urn:ngsi-ld:WaterObserved:22100:001"]},      or {"type": IRI, "scope": "/河川/#"?}
     "attribute": IRI, "datasetId": URI?, "unitCode": "MTR",
     "levels": [{"stage": "caution", "threshold": 0.9}, {"stage": "danger", "when": CONDITION}],
     "hysteresis": 0.1, "clearAfter": 1800, "confirmation": {"count": 2, "seconds": 600},
     "noData": {"after": 3600}, "overrides": {"urn:ngsi-ld:WaterObserved:22100:002": {"levels": [...]}}}

Names of types and attributes are expanded IRIs: whoever takes a rule from a user expands them first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from broker.alerts.conditions import Condition, Series, terms_of
from broker.audiences import Audience
from broker.query.scopes import parse_scopes, scope_expression
from broker.query.tree import ScopePattern
from schemas.stages import NO_DATA, STAGE_BY_CODE, Stage
from schemas.terms import NO_DATASET

DEFAULT_HYSTERESIS: Final = 0.10  # metres, or whatever the rule's unit is
DEFAULT_CLEAR_AFTER_S: Final = 30 * 60  # 30 minutes
DEFAULT_UNIT: Final = "MTR"  # UN/CEFACT Recommendation 20: metre
DEFAULT_SILENT_AFTER_S: Final = 60 * 60
DEFAULT_ESCALATE_AFTER_S: Final = (600.0, 1800.0)
GAUGE: Final = "gauge"
REFERENCES: Final = (GAUGE, "TP", "AP", "KP", "OP", "YP")
"""Datums of thresholds: the gauge's own zero, or a level datum (Tokyo Peil and the local ones)."""


@dataclass(frozen=True, slots=True)
class Level:
    """One stage of a rule and the value (in the rule's unit, from the gauge's zero) from which on it is reached.

    ``threshold`` None: the station has no such level. ``when``: a condition in the place of a threshold. ``since``,
    ``until``: when the entry holds (by observation time, the end not included); None is for ever.
    """

    stage: str
    threshold: float | None
    since: datetime | None = None
    until: datetime | None = None
    when: Condition | None = None

    @property
    def named(self) -> Stage:
        """The stage with its names, order, colour and severity."""
        return STAGE_BY_CODE[self.stage]

    def holds_at(self, moment: datetime) -> bool:
        """Whether there is something to compare with at ``moment``."""
        if self.threshold is None and self.when is None:
            return False
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How long a level must be reached before it is raised; with both members set, either one is enough.

    ``count``: so many consecutive samples at or above the threshold. ``duration``: samples at or above it
    over so much observation time. Neither: the first sample raises.
    """

    count: int | None = None
    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NoData:
    """When silence is an alert of its own: after ``after``; from the level ``active_from`` on after ``active_after``.

    ``stage`` is what it raises; a sensor that falls silent when it is under water may say more than ``no_data``.
    """

    after: timedelta
    active_after: timedelta | None = None
    active_from: float | None = None
    stage: str = NO_DATA

    def limit(self, value: float | None) -> timedelta:
        """How long silence is accepted after ``value``."""
        is_active = self.active_from is not None and value is not None and value >= self.active_from
        return self.active_after if is_active and self.active_after is not None else self.after


@dataclass(frozen=True, slots=True)
class Flapping:
    """From the ``count``-th raise of one level within ``within`` on, the level is unstable (see evaluation)."""

    count: int = 4
    within: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class EntitySelector:
    """Which entities a rule watches: the listed ids, or all of one type (an IRI), in a scope when one is given."""

    ids: tuple[str, ...] = ()
    type: str | None = None
    scope: str | None = None

    def matches(self, entity_id: str, types: tuple[str, ...], scopes: tuple[str, ...] | None = None) -> bool:
        """Tell whether the entity is watched; ``scopes`` None: they are not known and not asked for."""
        if self.type is None:
            return entity_id in self.ids
        if self.type not in types:
            return False
        if self.scope is None or scopes is None:
            return True
        return any(scope_pattern(self.scope).fullmatch(scope) for scope in scopes)


@lru_cache(maxsize=1000)
def scope_pattern(text: str) -> re.Pattern[str]:
    """One scope of clause 4.19 (``/河川/#``) as an expression. Raises :class:`~broker.errors.BadRequestData`."""
    tree = parse_scopes(text)
    if not isinstance(tree, ScopePattern):
        raise ValueError("one scope is expected")
    return re.compile(scope_expression(tree)[1:-1], re.DOTALL)


@dataclass(frozen=True, slots=True)
class Override:
    """What is different for one entity: ``members`` as they were given, and the rule as it is for that entity."""

    members: Mapping[str, Any]
    rule: AlertRule


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A rule. Levels that hold at one time ascend in stage, and in threshold unless they were imported otherwise.

    A level is raised at ``value >= threshold`` (after ``confirmation``) and cleared by the sample that
    completes ``clear_after`` below ``threshold - hysteresis``. All numbers are in ``unit_code`` and from the gauge's
    zero; they were given from ``reference``, in which that zero is at ``zero_point``.

    ``silent_after``: a raised station that says nothing for so long is marked unknown. ``escalate_after``: when nobody
    has acknowledged, counted from the raise. ``audience``: who may see its alerts.
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
    reference: str = GAUGE
    zero_point: float | None = None
    no_data: NoData | None = None
    silent_after: timedelta | None = timedelta(seconds=DEFAULT_SILENT_AFTER_S)
    flapping: Flapping | None = field(default_factory=Flapping)
    escalate_after: tuple[timedelta, ...] = tuple(timedelta(seconds=s) for s in DEFAULT_ESCALATE_AFTER_S)
    overrides: Mapping[str, Override] = field(default_factory=dict)
    audience: Audience = Audience.STAFF

    @property
    def own(self) -> Series:
        """The values that are compared with thresholds."""
        return Series(self.attribute, self.dataset)

    def for_entity(self, entity_id: str) -> AlertRule:
        """The rule as it is for one entity."""
        override = self.overrides.get(entity_id)
        return self if override is None else override.rule

    @property
    def has_conditions(self) -> bool:
        """Whether some level has a condition in the place of its threshold."""
        return any(level.when is not None for level in self.levels)

    @property
    def has_own_series_only(self) -> bool:
        """Whether it looks at nothing but the values that are compared with thresholds, for this entity."""
        return all(term.series == self.own for condition in self.conditions() for term in terms_of(condition))

    def looks_ahead(self, stage: str) -> bool:
        """Whether a forecast has a say in raising ``stage``."""
        asked = (level.when for level in self.levels if level.stage == stage and level.when is not None)
        return any(term.kind == "forecast" for condition in asked for term in terms_of(condition))

    def conditions(self) -> Iterator[Condition]:
        """The conditions in the place of thresholds."""
        return (level.when for level in self.levels if level.when is not None)

    def series(self) -> set[Series]:
        """All series that the rule looks at, those of its overrides too."""
        found = {self.own} | {term.series for condition in self.conditions() for term in terms_of(condition)}
        for override in self.overrides.values():
            found |= override.rule.series()
        return found

    def stages_at(self, moment: datetime) -> set[str]:
        """The stages that can be raised at ``moment``."""
        found = {level.stage for level in self.levels if level.holds_at(moment)}
        return found | {self.no_data.stage} if self.no_data else found
