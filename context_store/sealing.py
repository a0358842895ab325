# SPDX-License-Identifier: Apache-2.0
"""Secrets of others at rest, sealed with keys that are not in the database: a dump or a backup gives them to nobody.

A sealed text is stored as ``{"sealed": "..."}``, a token of Fernet (AES-128-CBC and HMAC-SHA-256, of ``cryptography``);
one that was stored before there were keys is the text itself, and stays readable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from broker.errors import Conflict

Stored = str | dict[str, str]

_SEALED: Final = "sealed"


class UnusableKeys(ValueError):
    """The file with keys cannot be used."""


def read_keys(path: Path) -> list[str]:
    """The keys in a file, one a line, the one that seals first; blank lines and those with ``#`` are passed over.

    Each is 32 random bytes in base64 for URLs (``openssl rand -base64 32 | tr '+/' '-_'``). Raises
    :class:`UnusableKeys`.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        for key in keys:
            Fernet(key)
    except (OSError, ValueError) as exc:
        why = exc if isinstance(exc, OSError) else "a key is 32 bytes in base64 for URLs, one a line"
        raise UnusableKeys(f"{path} has no keys: {why}") from None
    if not keys:
        raise UnusableKeys(f"{path} has no keys: it is empty")
    return keys


class Sealer:
    """Seals with the first of ``keys`` and opens with all of them; without keys it stores texts as they are."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    @property
    def has_keys(self) -> bool:
        """Whether it seals anything."""
        return self._fernet is not None

    def seal(self, texts: Mapping[str, str]) -> dict[str, Stored]:
        """Texts by name as they are to be stored."""
        if self._fernet is None:
            return dict(texts)
        return {name: {_SEALED: self._fernet.encrypt(text.encode()).decode()} for name, text in texts.items()}

    def open(self, stored: Mapping[str, Stored]) -> dict[str, str]:
        """The reverse; raises :class:`~broker.errors.Conflict` for what none of the keys fits."""
        return {name: self._opened(name, one) for name, one in stored.items()}

    def _opened(self, name: str, one: Stored) -> str:
        if isinstance(one, str):
            return one
        try:
            if self._fernet is not None:
                return self._fernet.decrypt(one[_SEALED]).decode()
        except InvalidToken:
            pass
        raise Conflict(f"{name} is sealed with a key that this hub does not have (MINAMO_SECRET_KEYS_FILE)")
