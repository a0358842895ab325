# SPDX-License-Identifier: Apache-2.0
"""For whom this process reads now: every transaction of a tenant asks, so that no statement can forget it.

A request sets it once (:mod:`api.access.doors`); what it starts inherits it. Outside of requests it is the hub itself,
which
sees everything, as staff does.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from broker.audiences import Audience


@dataclass(frozen=True, slots=True)
class Caller:
    """An audience, and a name for what is the caller's own (subscriptions); nobody owns anything without one."""

    audience: Audience = Audience.STAFF
    name: str = ""

    @property
    def is_restricted(self) -> bool:
        """Whether there may be things that this caller must not see."""
        return self.audience < Audience.STAFF


STAFF: Final = Caller()
_CALLER: Final[ContextVar[Caller]] = ContextVar("minamo_caller", default=STAFF)
current_caller: Final = _CALLER.get


class acting_for:  # noqa: N801 - read as a function, and what every request passes: a generator costs three times as much
    """Read for ``caller`` within the block, and in what is started in it."""

    __slots__ = ("_caller", "_token")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __enter__(self) -> None:
        self._token = _CALLER.set(self._caller)

    def __exit__(self, *_: object) -> None:
        _CALLER.reset(self._token)
