# SPDX-License-Identifier: Apache-2.0
"""Periods of the history of an entity, kept with all methods for who asks the same by another one.

A dashboard has a panel for the mean and one for the maximum; Stellio's load test asks for one of eight at random. To
read the instances costs most, and all methods of one reading little more than one. So what is asked by a second method
has all of them computed, and the others are found. What is asked of one entity will be asked of the next, and again
when something was written: it counts which methods are asked of periods of this length, whatever the entity and the
time, in the last minutes. What was computed holds as long as the version of the entity's history is the same, as for
:mod:`api.ngsild.kept_answers`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from api.ngsild.kept_answers import MAX_AGE_S
from broker.errors import BadRequestData
from broker.history.aggregation import AggregatedSeries, AggregationMethod, Period
from broker.history.temporal import TemporalQuery
from context_store.history.temporal import TemporalPage

_OVERHEAD: Final = 1000  # bytes of a question beside its periods
_SHARE: Final = 4  # one question takes no more than one in so many of all bytes
_SHAPES: Final = 1000

Question: TypeAlias = tuple[int, str, frozenset[str] | None, TemporalQuery]
"""Of a tenant, about an entity, its attributes, and when; the query's aggregation is without methods."""
Methods: TypeAlias = tuple[AggregationMethod, ...]
Compute: TypeAlias = Callable[[Methods], Awaitable[TemporalPage]]
_Shape: TypeAlias = tuple[int, frozenset[str] | None, Period | None]


@dataclass(slots=True)
class _Kept:
    """What is known of one question."""

    version: str = ""
    at: float = 0.0
    page: TemporalPage | None = None
    methods: Methods = ()
    by_itself: bool = False
    """All methods were computed in vain: they take too much, are refused, or do not last."""
    size: int = _OVERHEAD
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class _Asked:
    """Methods by which questions of one shape are asked, when that was last, and when last it were others."""

    methods: frozenset[AggregationMethod]
    at: float
    others_at: float | None = None


class KeptPeriods:
    """The periods that were asked for last, in about ``max_bytes``. ``clock`` gives seconds."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()
        self._bytes = 0
        self._asked: OrderedDict[_Shape, _Asked] = OrderedDict()

    async def ask(
        self, question: Question, version: str, methods: Methods, together: Methods, compute: Compute
    ) -> TemporalPage:
        """The page with ``methods``; ``together`` are those that are computed when several are asked for."""
        kept = self._of(question)
        all_at_once = set(methods) <= set(together) and self._are_several(question, methods)
        async with kept.lock:  # who asks at the same time waits, and finds
            if kept.version != version or self._clock() - kept.at > MAX_AGE_S:
                kept.version, kept.at, kept.by_itself = version, self._clock(), False
                kept.page = None
            if kept.page is not None and set(methods) <= set(kept.methods):
                page = _narrowed(kept.page, [kept.methods.index(method) for method in methods])
            elif all_at_once and not kept.by_itself:
                page = await self._compute_all(kept, methods, together, compute)
            else:
                page = await compute(methods)
        if self._kept.get(question) is kept:
            self._count(kept)
        return page

    def _of(self, question: Question) -> _Kept:
        kept = self._kept.get(question)
        if kept is None:
            kept = self._kept[question] = _Kept()
            self._bytes += kept.size
        self._kept.move_to_end(question)
        return kept

    def _are_several(self, question: Question, methods: Methods) -> bool:
        """Whether what is asked like this was asked by other methods too, of whichever entity."""
        tenant_id, _, attributes, query = question
        shape = tenant_id, attributes, None if query.aggregation is None else query.aggregation.period
        now, wanted = self._clock(), frozenset(methods)
        asked = self._asked.get(shape)
        if asked is None or now - asked.at > MAX_AGE_S:
            asked = self._asked[shape] = _Asked(wanted, now)
        self._asked.move_to_end(shape)
        if len(self._asked) > _SHAPES:
            self._asked.popitem(last=False)
        if wanted <= asked.methods:
            asked.at = now
        else:
            asked.others_at = now
        return asked.others_at is not None and now - asked.others_at <= MAX_AGE_S

    async def _compute_all(self, kept: _Kept, methods: Methods, together: Methods, compute: Compute) -> TemporalPage:
        try:
            page = await compute(together)
        except BadRequestData:  # of some other method than was asked for
            kept.by_itself = True
            return await compute(methods)
        if _bytes_of(page) <= self._max_bytes // _SHARE and all(found.is_lasting for found in page.entities):
            kept.page, kept.methods = page, together
        else:
            kept.by_itself = True
        return _narrowed(page, [together.index(method) for method in methods])

    def _count(self, kept: _Kept) -> None:
        size = _OVERHEAD + (0 if kept.page is None else _bytes_of(kept.page))
        self._bytes += size - kept.size
        kept.size = size
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.size


def _bytes_of(page: TemporalPage) -> int:
    return sum(series.size for found in page.entities for series in found.aggregated)


def _narrowed(page: TemporalPage, places: Sequence[int]) -> TemporalPage:
    """``page`` with only the methods at ``places``."""
    entities = tuple(
        replace(found, aggregated=tuple(_with_columns(series, places) for series in found.aggregated))
        for found in page.entities
    )
    return replace(page, entities=entities)


def _with_columns(series: AggregatedSeries, places: Sequence[int]) -> AggregatedSeries:
    return replace(series, columns=tuple([series.columns[place] for place in places]))
