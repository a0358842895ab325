# SPDX-License-Identifier: Apache-2.0
"""Messages in further languages, by catalogues: a document of words for each language, filled with facts.

Japanese, やさしい日本語 and English are written by hand (:mod:`broker.contacts.words`); every other language is a file.
A catalogue has all the words or it is refused, so that no message lacks a sentence in the night.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from string import Formatter
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from broker.sections import Section, read_document
from schemas.languages import built_in_words
from schemas.stages import ALL_STAGES

HAND_WRITTEN: Final[Mapping[str, str]] = {"ja": "日本語", "ja-easy": "やさしい日本語", "en": "English"}
CODE: Final = r"^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$"
"""Codes of languages (RFC 5646)."""

_KINDS: Final = (
    "raised", "escalated", "downgraded", "cleared", "withdrawn", "silent", "returned", "unacknowledged",
    "acknowledged", "shelved", "unshelved", "ahead",
)  # fmt: skip
_SLOTS: Final[Mapping[str, frozenset[str]]] = {
    "level": frozenset({"value"}),
    "threshold": frozenset({"value"}),
    "observed": frozenset({"time"}),
    "stage": frozenset({"stage"}),
    "before": frozenset({"stage"}),
    "ahead": frozenset(),
    "gateway": frozenset({"gateway", "count"}),
    "unknown": frozenset(),
    "unstable": frozenset(),
    "doubtful": frozenset(),
    "by": frozenset({"by"}),
    "reason": frozenset({"reason"}),
    "sent": frozenset({"time", "number"}),
}
_SLOT: Final = re.compile(r"[a-z]+")
_Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Marked(Section):
    """What stands before a test or an exercise, and the sentence that says what it is."""

    mark: _Text
    text: _Text


class Catalogue(Section):
    """The words of a language. Slots such as ``{value}`` are filled; each text has exactly those of its kind."""

    language: str = Field(pattern=CODE)
    name: _Text
    stages: dict[str, _Text]
    what: dict[str, _Text]
    lines: dict[str, _Text]
    test: Marked
    exercise: Marked
    digest: _Text

    @model_validator(mode="after")
    def _is_whole(self) -> Catalogue:
        if self.language in HAND_WRITTEN:
            raise ValueError(f"{self.language} is written by hand")
        for part, given, wanted in (
            ("stages", self.stages, {stage.code for stage in ALL_STAGES}),
            ("what", self.what, set(_KINDS)),
            ("lines", self.lines, set(_SLOTS)),
        ):
            if missing := wanted ^ set(given):
                raise ValueError(f"{part}: {', '.join(sorted(missing))} is missing or not known")
        texts = {f"lines.{name}": (text, _SLOTS[name]) for name, text in self.lines.items()}
        texts |= {"digest": (self.digest, frozenset({"count"})), "test.text": (self.test.text, frozenset({"name"}))}
        for place, (text, slots) in texts.items():
            if _slots(text) != slots:
                raise ValueError(f"{place}: its slots are {', '.join(sorted(slots)) or 'none'}")
        return self

    def line(self, name: str, **facts: Any) -> str:
        """A line or a part of one."""
        return self.lines[name].format(**facts)


def _slots(text: str) -> frozenset[str] | None:
    """The names in braces; None when there is something else in them."""
    try:
        found = [(name, form, change) for _, name, form, change in Formatter().parse(text) if name is not None]
    except ValueError:
        return None
    if any(form or change or not _SLOT.fullmatch(name) for name, form, change in found):
        return None
    return frozenset(name for name, _, _ in found)


@cache
def _built_in() -> dict[str, Catalogue]:
    return {one.language: one for one in read_catalogues(built_in_words())}


_own: dict[str, Catalogue] = {}


def read_catalogues(documents: Iterable[Mapping[str, Any]]) -> list[Catalogue]:
    """Catalogues of documents; raises :class:`~broker.errors.BadRequestData` that says what is wrong."""
    return [read_document(Catalogue, document) for document in documents]


def use_catalogues(catalogues: Iterable[Catalogue]) -> None:
    """Those of the city, for this process; they come before those of the hub. For the composition root."""
    _own.clear()
    _own.update({one.language: one for one in catalogues})


def catalogue_of(language: str) -> Catalogue | None:
    """The words of a language; None when there are none."""
    return _own.get(language) or _built_in().get(language)


def languages() -> dict[str, str]:
    """All languages that messages can be in, with their own names."""
    return {**HAND_WRITTEN, **{code: one.name for code, one in sorted((_built_in() | _own).items())}}
