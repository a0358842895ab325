# SPDX-License-Identifier: Apache-2.0
"""Inboxes: where another broker sends its notifications, and how its names and times become ours."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, field_validator

from broker.sections import Section
from broker.times import time_zone

ID: Final = r"^[A-Za-z0-9._-]{1,64}$"
TIME_NAMES: Final = ("TimeInstant", "observedAt", "dateObserved", "timestamp")

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Inbox(Section):
    """What is done with the notifications of one broker.

    ``type_names`` and ``attribute_names`` are what its names become (an empty text: the attribute is left out);
    ``time_zone`` (IANA) holds for times without an offset; ``time_names`` are the metadata and attributes that say when
    something was measured, the first that is there holds.
    """

    id: str = Field(pattern=ID)
    name: str | None = Field(None, min_length=1, max_length=200)
    type_names: dict[Text, Text] = Field(default_factory=dict, max_length=1000)
    attribute_names: dict[Text, str] = Field(default_factory=dict, max_length=1000)
    time_zone: str | None = None
    time_names: tuple[Text, ...] = TIME_NAMES
    notes: str | None = Field(None, max_length=2000)

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        try:
            if name is not None:
                time_zone(name)
        except ValueError as exc:
            raise ValueError("has to be an IANA name such as Asia/Tokyo") from exc
        return name
