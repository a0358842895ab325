# SPDX-License-Identifier: Apache-2.0
"""Browsers that a contact has enrolled for push messages (Web Push), and what they are sent."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import orjson
from pydantic import Field, field_validator

from broker.contacts.words import Words
from broker.sections import Section
from schemas.stages import STAGE_BY_CODE

ENROLMENT_ENDED: Final = "the browser is not enrolled any more"
"""How the error of a delivery begins that ends an enrolment."""
MOST_BROWSERS: Final = 20
"""Of one contact."""

_POINT_BYTES: Final = 65  # an uncompressed point of P-256
_AUTH_BYTES: Final = 16
_TEXT_BYTES: Final = 3000  # of the message; the rest of what fits is for its other members
_LOUD: Final = frozenset({"raised", "escalated", "unacknowledged", "silent"})
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Keys(Section):
    """The browser's public key and its secret, as its ``PushSubscription`` gives them (base64url)."""

    p256dh: str
    auth: str

    @field_validator("p256dh")
    @classmethod
    def _point(cls, value: str) -> str:
        point = _decoded(value)
        if len(point) != _POINT_BYTES or point[0] != 4:
            raise ValueError("an uncompressed point of P-256 in base64url is expected")
        return value

    @field_validator("auth")
    @classmethod
    def _secret(cls, value: str) -> str:
        if len(_decoded(value)) != _AUTH_BYTES:
            raise ValueError("16 bytes in base64url are expected")
        return value


class PushSubscription(Section):
    """What a browser says of itself (W3C Push API, ``PushSubscription.toJSON()``)."""

    endpoint: str = Field(max_length=2000)
    keys: Keys
    expiration_time: float | None = None

    @field_validator("endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        is_local = parts.scheme == "http" and parts.hostname in _LOCAL
        if not (parts.scheme == "https" or is_local) or not parts.hostname or "@" in parts.netloc:
            raise ValueError("the URL of a push service, which begins with https://, is expected")
        return value


class Enrolment(Section):
    """A request to enrol: the browser's subscription, and a name that tells people which browser it is."""

    subscription: PushSubscription
    label: str = Field("", max_length=100)


@dataclass(frozen=True, slots=True)
class Browser:
    """An enrolled browser: one of the ways to its contact. ``tenant`` has the contact: a drill's, say; "" the usual."""

    browser_id: str
    endpoint: str
    p256dh: str
    auth: str
    label: str = ""
    tenant: str = ""

    type: ClassVar = "webpush"
    stored_secret: ClassVar[None] = None

    @property
    def destination(self) -> str:
        """Where its messages go."""
        return f"push+{self.endpoint}"

    @property
    def service(self) -> str:
        """The push service of its maker; the rest of the address is a secret."""
        return urlsplit(self.endpoint).hostname or ""

    @property
    def shown(self) -> str:
        """What others may see: its name and push service."""
        return f"{self.label} ({self.service})" if self.label else self.service

    @property
    def key(self) -> str:
        """Which of the ways to its contact it is."""
        return f"b{self.browser_id}"


def push_payload(browser: Browser, words: Words, facts: Mapping[str, Any], number: int) -> bytes:
    """The body of a delivery to ``browser``.

    What is newer about an alarm takes the place of what a push service still keeps about it (``topic``), and of what
    the browser still shows (``tag``); a drill's never that of the real alarm. The page that it opens is of its
    ``tenant``.
    """
    steps = [facts["step"]] if "step" in facts else list(facts.get("steps", ()))
    alarm = steps[0]["alarmId"] if len(steps) == 1 else None
    topic = None if alarm is None else hashlib.sha256(f"{browser.tenant}{alarm}".encode()).hexdigest()[:32]
    message = {
        "number": number,
        "title": cut(words.subject, 400),
        "body": cut(words.text, _TEXT_BYTES - 500),
        "tag": topic or f"notice-{number}",
        "alarmId": alarm if alarm is None or len(alarm.encode()) < 300 else None,
        "tenant": browser.tenant,
        "urgent": any(is_loud(step) for step in steps),
    }
    return orjson.dumps(
        {
            "browser": {"p256dh": browser.p256dh, "auth": browser.auth},
            "topic": topic,
            "urgency": "high" if message["urgent"] else "normal",
            "message": message,
        }
    )


def is_loud(step: Mapping[str, Any]) -> bool:
    """Whether a device should be woken for ``step``, and the message stay until somebody has looked at it."""
    return step["kind"] in _LOUD or (STAGE_BY_CODE[step["stage"]].severity == "critical" and step["kind"] != "cleared")


def cut(text: str, size: int) -> str:
    """``text`` in at most ``size`` bytes of UTF-8, with … where something is left out."""
    if len(text.encode()) <= size:
        return text
    return text.encode()[: size - 3].decode("utf-8", "ignore") + "…"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise ValueError("base64url is expected") from exc
