# SPDX-License-Identifier: Apache-2.0
"""Documents of others that the hub fetches on a schedule: what, how it is read, and when the next time is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from broker.sections import Section

ID: Final = r"^[A-Za-z0-9._-]{1,64}$"
HEADER: Final = "header:"
LONGEST_PAUSE: Final = timedelta(hours=1)
_TOKEN: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"  # noqa: S105 - the grammar of names of headers
_NOT_YOURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})

HeaderName = Annotated[str, Field(pattern=_TOKEN)]
HeaderValue = Annotated[str, Field(pattern=r"^[ -~]{1,2000}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class PollFormat(Section):
    """How a document falls into records, and which station a record is of.

    ``records`` is the path of the records: for JSON ``data.items``, ``*`` for each member; for XML ``station/obs``,
    ``//obs``, ``*``; none for the document itself or an array of records. ``station`` is the field that names the
    station. ``document_fields`` puts what stands elsewhere into each record: a path in the document, or
    ``header:Last-Modified``. The others are of CSV: ``columns`` where no line names them, lines to pass over.
    """

    name: Literal["json", "csv", "xml"] = "json"
    records: Text | None = None
    station: Text | None = None
    document_fields: dict[Text, Text] = Field(default_factory=dict, max_length=20)
    columns: tuple[Text, ...] = ()
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            "".encode(name)
        except (LookupError, ValueError) as exc:
            raise ValueError("is not known; utf-8 and cp932 are") from exc
        return name

    @model_validator(mode="after")
    def _is_of_its_format(self) -> PollFormat:
        if self.name != "csv" and (self.columns or self.skip_lines or self.separator != ","):
            raise ValueError("columns, separator and skipLines are for csv")
        if self.name == "csv" and self.records is not None:
            raise ValueError("the records of csv are its lines")
        return self


class Poll(Section):
    """A document that is fetched every ``interval`` seconds. ``headers`` are sent along, such as a key."""

    id: str = Field(pattern=ID)
    name: str | None = Field(None, min_length=1, max_length=200)
    url: str = Field(max_length=2000)
    interval: float = Field(300, gt=0, le=86_400 * 7)
    format: PollFormat = PollFormat()
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, max_length=20)
    notes: str | None = Field(None, max_length=2000)

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
            raise ValueError("has to be an absolute http or https URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials belong into headers, not into the URL")
        return url

    @field_validator("headers")
    @classmethod
    def _are_free(cls, headers: dict[str, str]) -> dict[str, str]:
        if taken := [name for name in headers if name.lower() in _NOT_YOURS]:
            raise ValueError(f"{taken[0]} is set by the hub")
        return headers


def address_of(poll_key: str, station: str) -> str:
    """By which address a device is known that is the ``station`` of a poll; ``""``: the document is of one alone."""
    return f"{poll_key}:{station.replace('/', '_')}" if station else poll_key


def next_due(
    now: datetime, interval_s: float, failures: int, *, retry_after: timedelta | None = None, jitter: float = 0.5
) -> datetime:
    """When to fetch again after ``failures`` in a row (0: it went well).

    The pause doubles with each failure up to :data:`LONGEST_PAUSE` or the interval, whichever is longer, and is never
    shorter than the server asks for (at most a day). ``jitter`` (0 to 1) spreads it by 10 % either way after failures.
    """
    interval = timedelta(seconds=interval_s)
    if failures == 0:
        return now + interval
    doubled: timedelta = interval * (1 << min(failures - 1, 20))
    pause = min(doubled, max(interval, LONGEST_PAUSE)) * (0.9 + jitter / 5)
    return now + max(pause, min(retry_after or timedelta(0), timedelta(days=1)))
