# SPDX-License-Identifier: Apache-2.0
"""Secrets of others at rest, sealed with keys that are not in the database: a dump or a backup gives them to nobody.

A sealed text is stored as ``{"sealed": "..."}``, a token of Fernet (AES-128-CBC and HMAC-SHA-256, of ``cryptography``);
one that was stored before there were keys is the text itself, and stays readable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from broker.document_members import Document
from broker.errors import Conflict
from broker.registrations.document import TAKEN_FROM_REQUEST
from broker.sealed import Stored
from broker.subscriptions import Sending

HIDDEN: Final = "***"  # in the place of a text for those who must not see it, or that cannot be opened
_SEALED: Final = "sealed"
# Headers and keys of receiverInfo and contextSourceInfo that are no secrets; the hub itself writes or reads some.
_MANNERS: Final = frozenset(
    ("accept", "content-type", "contenttype", "fiware-service", "fiware-servicepath", "jsonldcontext", "link",
     "minamo-sequence", "ngsild-tenant", "ngsildconformance", "prefer", "user-agent")
)  # fmt: skip


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
        self._opened = lru_cache(maxsize=1024)(self._decrypted)  # one text goes with each of many notifications

    @property
    def has_keys(self) -> bool:
        """Whether it seals anything."""
        return self._fernet is not None

    def seal(self, texts: Mapping[str, str]) -> dict[str, Stored]:
        """Texts by name as they are to be stored."""
        return {name: self.seal_one(text) for name, text in texts.items()}

    def open(self, stored: Mapping[str, Stored]) -> dict[str, str]:
        """The reverse; raises :class:`~broker.errors.Conflict` for what none of the keys fits."""
        return {name: self.open_one(one, name) for name, one in stored.items()}

    def seal_one(self, text: Stored) -> Stored:
        """A text as it is to be stored; one that is sealed stays so."""
        if self._fernet is None or not isinstance(text, str):
            return text
        return {_SEALED: self._fernet.encrypt(text.encode()).decode()}

    def open_one(self, one: Stored, name: str) -> str:
        """The reverse; raises :class:`~broker.errors.Conflict`, which calls it ``name``."""
        if isinstance(one, str):
            return one
        text = self._opened(one[_SEALED])
        if text is None:
            raise Conflict(f"{name} is sealed with a key that this hub does not have (MINAMO_SECRET_KEYS_FILE)")
        return text

    def _decrypted(self, token: str) -> str | None:
        try:
            return None if self._fernet is None else self._fernet.decrypt(token).decode()
        except InvalidToken:
            return None

    def shown(self, one: Stored) -> str:
        """A text for who may see it; :data:`HIDDEN` when none of the keys fits."""
        return one if isinstance(one, str) else self._opened(one[_SEALED]) or HIDDEN

    def reseal(self, one: Stored, name: str) -> Stored:
        """The text sealed with the first key; raises :class:`~broker.errors.Conflict`."""
        return self.seal_one(self.open_one(one, name))

    def seal_sending(self, sending: Sending) -> Sending:
        """With its password and its secret as they are to be stored."""
        return with_sending(sending, self.seal_one)

    def open_sending(self, sending: Sending) -> Sending:
        """The reverse; raises :class:`~broker.errors.Conflict`."""
        return with_sending(sending, lambda one: self.open_one(one, "the secret"))


def with_sending(sending: Sending, change: Callable[[Stored], Stored]) -> Sending:
    """``sending`` with its password and its secret as ``change`` says."""
    if sending.password is None and sending.secret is None:
        return sending
    password = None if sending.password is None else change(sending.password)
    return replace(sending, password=password, secret=None if sending.secret is None else change(sending.secret))


def in_registration(document: Document, change: Callable[[Stored], Stored]) -> Document:
    """A registration with each value of ``contextSourceInfo`` that may be a secret as ``change`` says."""
    if "contextSourceInfo" not in document:
        return document
    return {**document, "contextSourceInfo": _each_pair(document["contextSourceInfo"], change)}


def hide(_: Stored) -> Stored:
    """What stands in the place of a stored text for those who must not see it."""
    return HIDDEN


def in_subscription(document: Document, change: Callable[[Stored], Stored]) -> Document:
    """A subscription with each value of ``receiverInfo`` that may be a secret as ``change`` says."""
    endpoint = document["notification"]["endpoint"]
    if "receiverInfo" not in endpoint:
        return document
    changed = {**endpoint, "receiverInfo": _each_pair(endpoint["receiverInfo"], change)}
    return {**document, "notification": {**document["notification"], "endpoint": changed}}


def _each_pair(pairs: Sequence[dict[str, Any]], change: Callable[[Stored], Stored]) -> list[dict[str, Any]]:
    return [
        {**pair, "value": change(pair["value"])}
        if may_be_secret(pair["key"]) and pair["value"] != TAKEN_FROM_REQUEST
        else pair
        for pair in pairs
    ]


def may_be_secret(name: str) -> bool:
    """Whether the value of a header, or of a key of receiverInfo or contextSourceInfo, is to be sealed."""
    return name.lower() not in _MANNERS
