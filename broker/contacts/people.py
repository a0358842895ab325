# SPDX-License-Identifier: Apache-2.0
"""Who is told about alarms, by which channels, in which language, and when they want to be left alone.

A contact is a person or a desk; a group has members, some of them only for the time of a shift; a plan says which
groups are told about which alarms, and who comes next when nobody answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Final, Literal, Self
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Field, field_validator, model_validator

from broker.contacts.catalogues import CODE
from broker.sealed import Stored
from broker.sections import Section
from broker.times import time_zone
from schemas.stages import RANK, STAGE_BY_CODE

Language = str  # of broker.contacts.catalogues.languages(); an unknown one is told in English
ChannelType = Literal["mail", "line", "sms", "slack", "teams", "webhook", "mqtt"]
ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Id = Annotated[str, Field(pattern=ID)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

_ADDRESSES: Final[dict[ChannelType, tuple[re.Pattern[str], str]]] = {
    "mail": (re.compile(r"[^\s@<>,;:\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"), "an e-mail address"),
    "line": (re.compile(r"[UCR][0-9a-f]{32}"), "the id of a LINE user, group or room"),
    "sms": (re.compile(r"\+[1-9][0-9]{6,14}"), "a telephone number with its country (+81...)"),
    "slack": (re.compile(r"https?://\S+"), "the URL of an incoming webhook"),
    "teams": (re.compile(r"https?://\S+"), "the URL of a workflow's webhook"),
    "webhook": (re.compile(r"https?://\S+"), "a URL"),
    "mqtt": (re.compile(r"mqtts?://\S+"), "an MQTT URL with a topic"),
}
_SECRET_CHARACTERS: Final = 16
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_SCHEMES: Final[dict[ChannelType, str]] = {"mail": "mailto:", "line": "line:", "sms": "sms:"}


class SealedText(Section):
    """A text as it is stored where the hub has keys to seal it with."""

    sealed: str


class Channel(Section):
    """One way to a contact. ``secret`` signs what goes to a webhook, or is the password of an MQTT URL's user; it is
    never shown again, and sealed once it is stored.
    """

    type: ChannelType
    address: str = Field(max_length=2000)
    secret: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-~]*$")] | SealedText | None = None

    @model_validator(mode="after")
    def _address_fits(self) -> Self:
        pattern, what = _ADDRESSES[self.type]
        if not pattern.fullmatch(self.address):
            raise ValueError(f"the address of {self.type} has to be {what}")
        if self.secret is not None and self.type not in ("webhook", "mqtt"):
            raise ValueError("only a webhook and MQTT have a secret")
        if isinstance(self.secret, str) and self.type == "webhook" and len(self.secret) < _SECRET_CHARACTERS:
            raise ValueError(f"a secret that signs has at least {_SECRET_CHARACTERS} characters")
        if self.type not in _SCHEMES and urlsplit(self.address).password is not None:
            raise ValueError("a password does not belong into the address; it is the secret")
        return self

    @property
    def stored_secret(self) -> Stored | None:
        """The secret as notifications pass it on."""
        return {"sealed": self.secret.sealed} if isinstance(self.secret, SealedText) else self.secret

    @property
    def destination(self) -> str:
        """The address as a URI."""
        scheme = _SCHEMES.get(self.type, "")
        return scheme + quote(self.address, safe="@+.") if scheme else self.address

    @property
    def key(self) -> str:
        """Which of the ways to its contact it is: the same as long as type and address are."""
        return "c" + hashlib.sha256(f"{self.type} {self.address}".encode()).hexdigest()[:12]

    @property
    def shown(self) -> str:
        """The address for others to see: of a URL only the host, for the rest of it is often a secret."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.hostname}" if parts.hostname else self.address


class Quiet(Section):
    """A time of each day in which the contact is told nothing, by the clock of its time zone; may pass midnight.

    What is withheld comes as one message at its end. It never holds for the highest levels.
    """

    start: str = Field(alias="from")
    until: str

    @field_validator("start", "until")
    @classmethod
    def _clock(cls, value: str) -> str:
        if not _CLOCK.fullmatch(value):
            raise ValueError("a time of day is HH:MM")
        return value

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.start == self.until:
            raise ValueError("from and until are the same")
        return self

    def end(self, local: datetime) -> datetime | None:
        """When the quiet ends that holds at ``local``; None: none holds."""
        start, until, now = time.fromisoformat(self.start), time.fromisoformat(self.until), local.time()
        holds = start <= now < until if start < until else now >= start or now < until
        if not holds:
            return None
        day = local.date() + timedelta(days=1 if now >= until else 0)
        return datetime.combine(day, until, local.tzinfo)


def is_urgent(stage: str) -> bool:
    """Whether ``stage`` is one of the highest levels, for which nothing waits."""
    return STAGE_BY_CODE[stage].severity == "critical"


class Contact(Section):
    """A person or a desk. ``digest_above``: more messages than that in a minute come as one.

    Beside its channels a contact has the browsers that it enrolled.
    """

    id: Id
    name: Name
    language: Language = Field("ja", pattern=CODE)
    channels: tuple[Channel, ...] = Field((), max_length=10)
    quiet: tuple[Quiet, ...] = Field((), max_length=10)
    time_zone: str = "Asia/Tokyo"
    digest_above: int = Field(10, ge=1, le=1000)
    enabled: bool = True

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            time_zone(value)
        except ValueError as exc:
            raise ValueError("this time zone is not known") from exc
        return value

    def quiet_until(self, stage: str, now: datetime) -> datetime | None:
        """Until when a message about ``stage`` waits; None: it goes at once."""
        if is_urgent(stage):
            return None
        local = now.astimezone(ZoneInfo(self.time_zone))
        return max((end for quiet in self.quiet if (end := quiet.end(local)) is not None), default=None)


class Member(Section):
    """A contact of a group, always or for the time of a shift."""

    contact: Id
    start: AwareDatetime | None = Field(None, alias="from", strict=False)
    until: AwareDatetime | None = Field(None, strict=False)

    def is_on(self, now: datetime) -> bool:
        """Whether it is the member's time."""
        return (self.start is None or self.start <= now) and (self.until is None or now < self.until)


class Group(Section):
    """Contacts that are told together."""

    id: Id
    name: Name
    members: tuple[Member, ...] = Field((), max_length=500)


class Which(Section):
    """Alarms that a plan is for; what is empty admits all."""

    rules: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    rivers: tuple[str, ...] = ()
    minimum_stage: str | None = None

    @field_validator("minimum_stage")
    @classmethod
    def _stage(cls, value: str | None) -> str | None:
        if value is not None and value not in RANK:
            raise ValueError(f"this stage is not known; one of {', '.join(RANK)}")
        return value


class Plan(Section):
    """Who is told: the groups of the first of ``steps`` at once, those of each next one when nobody has acknowledged.

    The times between are those of the rule (``escalateAfter``).
    """

    id: Id
    name: Name
    alarms: Which = Which()
    steps: tuple[tuple[Id, ...], ...] = Field(min_length=1, max_length=10)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Roster:
    """All contacts, groups and plans of a tenant, by id."""

    contacts: Mapping[str, Contact]
    groups: Mapping[str, Group]
    plans: Mapping[str, Plan]

    def only(self, contacts: Collection[str]) -> Roster:
        """The same with these contacts alone: groups and plans are as they were, without the others."""
        kept = {name: contact for name, contact in self.contacts.items() if name in contacts}
        groups = {
            name: group.model_copy(update={"members": tuple(one for one in group.members if one.contact in kept)})
            for name, group in self.groups.items()
        }
        return Roster(kept, groups, self.plans)

    def people_of(self, group_ids: Collection[str], now: datetime) -> list[str]:
        """The contacts whose time it is in these groups, each once; who is not enabled is left out."""
        members = (member for name in group_ids if name in self.groups for member in self.groups[name].members)
        found = dict.fromkeys(member.contact for member in members if member.is_on(now))
        return [name for name in found if name in self.contacts and self.contacts[name].enabled]
