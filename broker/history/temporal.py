# SPDX-License-Identifier: Apache-2.0
"""The temporal evolution of entities: queries (4.11), pages (6.3.10) and representations (4.5.6 to 4.5.9) of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from broker.contexts.jsonld import TermMap
from broker.entities import VALUE_MEMBER, AttributeKind, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.history.aggregation import Aggregation
from broker.representations import Form, Representation, represent, represent_instance
from broker.times import to_text
from schemas.terms import MINAMO, NGSI_LD, NO_DATASET, NULL

SCOPE: Final = NGSI_LD + "scope"
SUPERSEDED: Final = MINAMO + "superseded"
"""A member of the hub's own. It is a JsonProperty, whose value JSON-LD takes as it is: what is believed no longer
stands beside the instances of an attribute and not among them, and is no statement about the entity."""
INSTANCE_ID: Final = "urn:ngsi-ld:instance:"  # followed by the number of the history row


class TimeProperty(StrEnum):
    """Which of its times places an instance on the time axis (clause 4.8)."""

    OBSERVED_AT = "observedAt"
    CREATED_AT = "createdAt"
    MODIFIED_AT = "modifiedAt"
    DELETED_AT = "deletedAt"


@dataclass(frozen=True, slots=True)
class TemporalQuery:
    """Instances with ``start`` <= time < ``end`` (None: open); of each attribute only the newest ``last_n``.

    ``restricted``: a time range was asked for, so that instances without the time property do not match.
    """

    start: datetime | None = None
    end: datetime | None = None
    restricted: bool = False
    time_property: TimeProperty = TimeProperty.OBSERVED_AT
    last_n: int | None = None
    datasets: frozenset[str] | None = None
    """Only instances of these datasets; ``@none`` is the default one."""
    aggregation: Aggregation | None = None
    """What to compute of them in the place of the instances themselves."""
    as_known_at: datetime | None = None
    """Only what the hub believed at that time, as it had learned of it by then; None: what it believes now."""
    corrections: bool = False
    """Beside that, what it had believed before and did no longer."""


class HistoricInstance(NamedTuple):
    """One attribute instance as it once was. ``place`` is its time on the axis of the query that found it.

    ``instance`` has no system times; ``removed`` tells that the attribute ended, then it only has its ``type``.
    """

    attribute: str
    dataset: str
    instance: Instance
    key: int
    recorded_at: datetime
    place: datetime
    removed: bool = False
    superseded_at: datetime | None = None
    """When the hub ceased to believe it; None while it does."""

    @property
    def order(self) -> tuple[datetime, datetime, int]:
        """Where it stands among others; corrections of the same time as the hub learned of them."""
        return self.place, self.recorded_at, self.key


class WrittenForm(StrEnum):
    """How an attribute is written whose instances are all plain numbers: each one (4.5.6), or as pairs (4.5.9)."""

    INSTANCES = "instances"
    VALUES = "values"


class WrittenSeries(NamedTuple):
    """Plain numbers of one attribute as JSON: what is between the brackets of a list.

    As values they are those of one ``dataset``; as instances of all, each with its own.
    """

    attribute: str
    dataset: str
    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """What of the time range an answer covers when not all of it fits (clause 6.3.10)."""

    start: datetime
    end: datetime
    size: int | None

    def content_range(self) -> str:
        """The Content-Range header: ``date-time start-end/size``.

        Clause 6.3.10 names the unit DateTime; the ETSI test suite (020_13) and every broker in use write date-time.
        """
        return f"date-time {to_text(self.start)}-{to_text(self.end)}/{'*' if self.size is None else self.size}"


def temporal_query(
    *,
    timerel: str | None,
    time_at: datetime | None,
    end_time_at: datetime | None,
    time_property: str | None,
    last_n: int | None,
    datasets: frozenset[str] | None = None,
) -> TemporalQuery:
    """The query of clause 4.11: ``after`` is inclusive, ``before`` exclusive, ``between`` both in turn.

    Raises :class:`BadRequestData` when a part is missing or does not fit.
    """
    query = TemporalQuery(time_property=_time_property(time_property), last_n=last_n, datasets=datasets)
    if timerel is None:
        if time_at is not None or end_time_at is not None:
            raise BadRequestData("timeAt and endTimeAt need a timerel")
        return query
    if timerel not in ("before", "after", "between"):
        raise BadRequestData(f"timerel is {timerel!r}; before, after or between is expected")
    if time_at is None:
        raise BadRequestData(f"timerel={timerel} needs a timeAt")
    if timerel == "between" and end_time_at is None:
        raise BadRequestData("timerel=between needs an endTimeAt")
    if timerel != "between" and end_time_at is not None:
        raise BadRequestData(f"timerel={timerel} takes no endTimeAt; between does")
    if timerel == "before":
        return replace(query, end=time_at, restricted=True)
    return replace(query, start=time_at, end=end_time_at, restricted=True)


def _time_property(name: str | None) -> TimeProperty:
    try:
        return TimeProperty(name or TimeProperty.OBSERVED_AT)
    except ValueError:
        raise BadRequestData(f"timeproperty is {name!r}; one of {', '.join(TimeProperty)} is expected") from None


def newest(instances: Iterable[tuple[int, HistoricInstance]], most: int) -> list[tuple[int, HistoricInstance]]:
    """The newest ``most`` of each attribute of each entity; an instance comes with a number of its entity."""
    seen: dict[tuple[int, str], int] = {}
    result = []
    for key, item in sorted(instances, key=lambda pair: pair[1].order, reverse=True):
        count = seen[key, item.attribute] = seen.get((key, item.attribute), 0) + 1
        if count <= most:
            result.append((key, item))
    return result


def cut_to_page(
    instances: Sequence[tuple[int, HistoricInstance]], query: TemporalQuery, most: int
) -> tuple[list[tuple[int, HistoricInstance]], Cut | None]:
    """At most ``most`` of ``instances`` (each with a number of its entity), cut by time over all attributes.

    With ``last_n`` the newest stay, else the oldest. Instances of the same time stay together, so that the next page
    can begin with a time; only when all have the same time may there be more than ``most``.
    """
    if len(instances) <= most:
        return list(instances), None
    backwards = query.last_n is not None
    ordered = sorted(instances, key=lambda item: item[1].place, reverse=backwards)
    limit = ordered[most][1].place
    kept = [item for item in ordered if (item[1].place > limit if backwards else item[1].place < limit)]
    kept = kept or [item for item in ordered if item[1].place == limit]
    reached = kept[-1][1].place
    if backwards:
        return kept, Cut(query.end or kept[0][1].place, reached, query.last_n)
    return kept, Cut(query.start or kept[0][1].place, reached, None)


def represent_temporal(
    entity: ExpandedEntity,
    instances: Iterable[HistoricInstance],
    terms: TermMap,
    options: Representation,
    *,
    values_of: TimeProperty | None = None,
    cut_off: Iterable[HistoricInstance] = (),
    deleted_at: datetime | None = None,
    superseded: Iterable[HistoricInstance] = (),
    written: Iterable[WrittenSeries] = (),
) -> dict[str, Any]:
    """The temporal representation of ``entity`` (clause 4.5.6), or with ``values_of`` the simplified one (4.5.9).

    ``values_of`` is the time property that goes with each value. Of ``entity`` only what is no attribute is taken.
    ``cut_off`` has one instance of each attribute that is all on other pages: it is written as empty. ``deleted_at``
    is when the entity was deleted, if it was. ``superseded`` are instances that are believed no longer.
    ``written`` are attributes that are text already, each in the form of the others.
    """
    if options.form is not Form.NORMALIZED:
        options = replace(options, form=Form.NORMALIZED)
    bare = ExpandedEntity(
        entity.id, entity.types, {}, (), entity.created_at, entity.modified_at, entity.expires_at
    )  # by hand: an answer may have a thousand of them, and replace() takes longer than all the rest
    result = represent(bare, terms, options)
    if deleted_at is not None and options.sys_attrs and options.writes("deletedAt"):
        result["deletedAt"] = to_text(deleted_at)
    by_attribute: dict[str, list[HistoricInstance]] = {}
    for item in instances:
        by_attribute.setdefault(item.attribute, []).append(item)
    for attribute, items in by_attribute.items():
        if not is_wanted(attribute, options):
            continue
        if values_of is None:
            result[terms.compact_iri(attribute)] = [represent_historic(item, terms, options) for item in items]
        else:
            result[terms.compact_iri(attribute)] = _values(items, terms, options, values_of)
    _add_written(result, written, terms, options, as_values=values_of is not None)
    for item in cut_off:
        if item.attribute not in by_attribute and is_wanted(item.attribute, options):
            kind = item.instance["type"]
            nothing = [] if values_of is None else {"type": kind, f"{VALUE_MEMBER[kind]}s": []}
            result[terms.compact_iri(item.attribute)] = nothing
    if corrections := _corrections(superseded, terms, options):
        result[SUPERSEDED] = [{"type": AttributeKind.JSON_PROPERTY.value, "json": corrections}]
    return result


def _add_written(
    result: dict[str, Any],
    written: Iterable[WrittenSeries],
    terms: TermMap,
    options: Representation,
    *,
    as_values: bool,
) -> None:
    by_attribute: dict[str, list[Any]] = {}
    for series in written:
        if is_wanted(series.attribute, options):
            items = orjson.Fragment(f"[{series.text}]")
            named = {} if series.dataset == NO_DATASET else {"datasetId": series.dataset}
            shown = {"type": AttributeKind.PROPERTY.value, "values": items, **named} if as_values else items
            by_attribute.setdefault(terms.compact_iri(series.attribute), []).append(shown)
    for name, several in by_attribute.items():
        result[name] = several[0] if len(several) == 1 else several


def _corrections(
    superseded: Iterable[HistoricInstance], terms: TermMap, options: Representation
) -> dict[str, list[dict[str, Any]]]:
    """What is believed no longer, by attribute: instances with ``recordedAt`` and ``supersededAt``."""
    result: dict[str, list[dict[str, Any]]] = {}
    for item in superseded:
        if is_wanted(item.attribute, options) and item.superseded_at is not None:
            times = {"recordedAt": to_text(item.recorded_at), "supersededAt": to_text(item.superseded_at)}
            written = represent_historic(item, terms, options) | times
            result.setdefault(terms.compact_iri(item.attribute), []).append(written)
    return result


def is_wanted(attribute: str, options: Representation) -> bool:
    """Whether the evolution of the attribute, or of the scope, is written."""
    if attribute == SCOPE:
        return options.writes("scope")
    return options.writes(attribute) and (options.attrs is None or attribute in options.attrs)


def represent_historic(item: HistoricInstance, terms: TermMap, options: Representation) -> dict[str, Any]:
    """One instance of the temporal representation (clause 4.5.6)."""
    instance = _complete(item)
    recorded = to_text(item.recorded_at) if item.removed or options.sys_attrs else ""
    if options.sys_attrs:
        times = {"deletedAt": recorded} if item.removed else {"createdAt": recorded, "modifiedAt": recorded}
        instance = {**times, **instance}
    written: dict[str, Any] = represent_instance(instance, item.dataset, terms, options)
    if item.removed:
        written["deletedAt"] = recorded  # it is what the instance tells, wanted with sysAttrs or not (clause 4.5.7)
    written["instanceId"] = f"{INSTANCE_ID}{item.key}"
    return written


def _complete(item: HistoricInstance) -> Instance:
    """The instance with its value; what was removed has the NGSI-LD Null (clause 4.5.7)."""
    if not item.removed:
        return item.instance
    if item.attribute == SCOPE:
        return {**item.instance, "value": []}
    kind = item.instance["type"]
    return {**item.instance, VALUE_MEMBER[kind]: _null(kind)}


def _null(kind: str) -> Any:
    if kind == AttributeKind.LANGUAGE_PROPERTY:
        return {NO_DATASET: NULL}
    return [NULL] if kind in (AttributeKind.LIST_PROPERTY, AttributeKind.LIST_RELATIONSHIP) else NULL


def _values(
    items: Sequence[HistoricInstance], terms: TermMap, options: Representation, time_property: TimeProperty
) -> Any:
    """``{"type": kind, "values": [[value, time], ...]}``; several of them where datasets or kinds differ."""
    groups: dict[tuple[str, str], list[list[Any]]] = {}
    options = replace(options, form=Form.SIMPLIFIED)
    for item in items:
        kind = item.instance["type"]
        if type(value := item.instance.get("value")) not in _AS_IT_IS or item.removed:
            value = represent_instance(_complete(item), item.dataset, terms, options)
        if kind == AttributeKind.LANGUAGE_PROPERTY and options.languages:
            kind = str(AttributeKind.PROPERTY)  # reduced to the text of one language (clause 4.15)
        groups.setdefault((kind, item.dataset), []).append([value, _time_text(item, time_property)])
    series = [
        {"type": kind, f"{VALUE_MEMBER[kind]}s": values} | ({} if dataset == NO_DATASET else {"datasetId": dataset})
        for (kind, dataset), values in groups.items()
    ]
    return series[0] if len(series) == 1 else series


_AS_IT_IS: Final = frozenset((int, float, bool, str))  # values of Properties that every form writes alike


def _time_text(item: HistoricInstance, time_property: TimeProperty) -> str:
    if time_property is TimeProperty.OBSERVED_AT and "observedAt" in item.instance:
        text: str = item.instance["observedAt"]
        return text
    return to_text(item.recorded_at)
