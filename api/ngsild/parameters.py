# SPDX-License-Identifier: Apache-2.0
"""URL parameters: which an operation knows, and their values as what they mean (clauses 6.3.7 to 6.3.13, 6.3.20)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from starlette.requests import Request

from api.ngsild.operation import requested
from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData, InvalidRequest
from broker.query import TypeTree, parse_types
from broker.validation import check_time

_MOST_DIGITS: Final = 15


class Parameters:
    """The parameters of one request.

    Raises :class:`InvalidRequest` for one that is not in the operation's description, and for one given twice.
    """

    def __init__(self, request: Request) -> None:
        self._operation = requested(request)
        self._values: dict[str, str] = {}
        known = self._operation.parameters
        for name, value in request.query_params.multi_items():
            if name not in known:
                raise InvalidRequest(f"This operation does not know the parameter {name!r}")
            if name in self._values:
                raise InvalidRequest(f"Parameter {name!r} is given more than once")
            self._values[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def items(self) -> list[tuple[str, str]]:
        """All names and values in the order of the request."""
        return list(self._values.items())

    def text(self, name: str) -> str | None:
        """The value, or None when it is not given. Raises :class:`BadRequestData` when it is empty."""
        value = self._values.get(name)
        if value == "":
            raise BadRequestData(f"Parameter {name!r} is empty")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """The parts of a comma-separated list, none of them empty; () when it is not given."""
        value = self.text(name)
        if value is None:
            return ()
        parts = tuple(part.strip() for part in value.split(","))
        if not all(parts):
            raise BadRequestData(f"Parameter {name!r} has an empty entry")
        return parts

    def flag(self, name: str) -> bool:
        """``true`` or ``false``; False when it is not given."""
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise BadRequestData(f"Parameter {name!r} is {value!r}; true or false is expected")
        return value == "true"

    def integer(self, name: str, *, least: int) -> int | None:
        """A whole number that is at least ``least``."""
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal()) or len(value) > _MOST_DIGITS or int(value) < least:
            raise BadRequestData(
                f"Parameter {name!r} is {value!r}; a whole number of at least {least}, of no more than {_MOST_DIGITS} "
                "digits, is expected"
            )
        return int(value)

    def time(self, name: str) -> datetime | None:
        """A DateTime of clause 4.6.3."""
        value = self.text(name)
        return None if value is None else check_time(value, name)

    def options(self) -> frozenset[str]:
        """The keywords of ``options``; raises :class:`InvalidRequest` for one not in the operation's description."""
        given = self.names("options")
        for keyword in given:
            if keyword not in self._operation.options:
                raise InvalidRequest(f"This operation does not know the option {keyword!r}")
        return frozenset(given)

    def types(self, terms: TermMap) -> TypeTree | None:
        """The ``type`` selection of clause 4.17; None when it is not given or ``*``."""
        value = self.text("type")
        return None if value is None else parse_types(value, terms.expand_term)
