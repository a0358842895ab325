# SPDX-License-Identifier: Apache-2.0
"""Periods of the history of an entity, kept with all methods for who asks the same by another one.

A dashboard has a panel for the mean and one for the maximum; Stellio's load test asks for one of eight at random. To
read the instances costs most, and all methods of one reading little more than one. So the second method that is asked
of the same periods has all of them computed, and the others are found. What was computed holds as long as the version
of the entity's history is the same, as for :mod:`api.ngsild.kept_answers`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from api.ngsild.kept_answers import MAX_AGE_S
from broker.errors import BadRequestData
from broker.history.aggregation import AggregatedPeriod, AggregationMethod
from broker.history.temporal import TemporalQuery
from context_store.history.temporal import TemporalPage

_PERIOD_BYTES: Final = 700
_SHARE: Final = 4  # one question takes no more than one in so many of all bytes

Question: TypeAlias = tuple[int, str, frozenset[str] | None, TemporalQuery]
"""Of a tenant, about an entity, its attributes, and when; the query's aggregation is without methods."""
Methods: TypeAlias = tuple[AggregationMethod, ...]
Compute: TypeAlias = Callable[[Methods], Awaitable[TemporalPage]]


@dataclass(slots=True)
class _Kept:
    """What is known of one question; ``asked`` are the methods that were asked for first."""

    version: str = ""
    at: float = 0.0
    asked: Methods = ()
    page: TemporalPage | None = None
    methods: Methods = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def size(self) -> int:
        periods = 0 if self.page is None else sum(len(found.periods) for found in self.page.entities)
        return (periods + 1) * _PERIOD_BYTES


class KeptPeriods:
    """The periods that were asked for last, in about ``max_bytes``. ``clock`` gives seconds."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()

    async def ask(
        self, question: Question, version: str, methods: Methods, together: Methods, compute: Compute
    ) -> TemporalPage:
        """The page with ``methods``; ``together`` are those that are computed when a second one is asked for."""
        kept = self._kept.setdefault(question, _Kept())
        self._kept.move_to_end(question)
        async with kept.lock:  # who asks at the same time waits, and finds
            if kept.version != version or self._clock() - kept.at > MAX_AGE_S:
                kept.version, kept.at, kept.asked, kept.page = version, self._clock(), methods, None
                page = await compute(methods)
            elif kept.page is None and set(methods) - set(kept.asked) and set(methods) <= set(together):
                page = await self._compute_all(kept, methods, together, compute)
            elif kept.page is not None and set(methods) <= set(kept.methods):
                page = _narrowed(kept.page, [kept.methods.index(method) for method in methods])
            else:
                page = await compute(methods)
        self._shrink()
        return page

    async def _compute_all(self, kept: _Kept, methods: Methods, together: Methods, compute: Compute) -> TemporalPage:
        try:
            page = await compute(together)
        except BadRequestData:  # of some other method than was asked for
            return await compute(methods)
        if _bytes_of(page) <= self._max_bytes // _SHARE and all(found.is_lasting for found in page.entities):
            kept.page, kept.methods = page, together
        return _narrowed(page, [together.index(method) for method in methods])

    def _shrink(self) -> None:
        size = sum(kept.size for kept in self._kept.values())
        while size > self._max_bytes and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            size -= gone.size


def _bytes_of(page: TemporalPage) -> int:
    return _Kept(page=page).size


def _narrowed(page: TemporalPage, places: Sequence[int]) -> TemporalPage:
    """``page`` with only the methods at ``places``."""
    entities = tuple(
        replace(found, periods=tuple(_with_values(period, places) for period in found.periods))
        for found in page.entities
    )
    return replace(page, entities=entities)


def _with_values(period: AggregatedPeriod, places: Sequence[int]) -> AggregatedPeriod:
    return AggregatedPeriod(*period[:5], tuple([period.values[place] for place in places]))
