# SPDX-License-Identifier: Apache-2.0
"""What the embedded servers tell the person who starts them, in Japanese and English, and their errors.

::

    EmbeddedError               cannot start; the text says what to do
    ├── ProgramMissing          PostgreSQL, PostGIS or mosquitto is not installed
    ├── DataFolderInUse         another hub runs with the same data folder
    ├── DataFolderUnusable      wrong kind, not reachable for the servers' user, not ours
    ├── PortInUse               the remembered MQTT port belongs to somebody else
    └── StartFailed             the program ended or did not answer in time; the end of its log is in the text
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from broker.errors import MinamoError


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in both languages."""

    ja: str
    en: str

    def in_language(self, language: Literal["ja", "en"]) -> str:
        """The sentence in one language."""
        return self.ja if language == "ja" else self.en

    def __str__(self) -> str:
        return f"{self.en} / {self.ja}"


Progress = Callable[[Text], None]
"""Called at each step that a waiting person wants to know of."""


class EmbeddedError(MinamoError):
    """An embedded server cannot be started."""

    def __init__(self, text: Text) -> None:
        self.text = text
        super().__init__(str(text))


class ProgramMissing(EmbeddedError):
    """A program that the embedded default needs is not installed."""


class DataFolderInUse(EmbeddedError):
    """Another hub holds the data folder."""


class DataFolderUnusable(EmbeddedError):
    """The data folder cannot be used as it is."""


class PortInUse(EmbeddedError):
    """The port belongs to another program."""


class StartFailed(EmbeddedError):
    """A server did not come up."""
