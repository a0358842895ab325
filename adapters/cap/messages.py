# SPDX-License-Identifier: Apache-2.0
"""Alerts as CAP 1.2 messages (OASIS Common Alerting Protocol), of Google's stricter profile too.

The messages of one rule about one station, from calm to calm, are one chain: ``Alert`` for what is raised first,
``Update`` for every stage above or below it, and at the end an ``Update`` with the response type ``AllClear``, or
``Cancel`` when the alert was withdrawn. Only when no stage is raised any more is it all clear. What one reading raised
(or cleared) at once is one message. Each message refers to the earlier ones of its chain.

Pure: the same events give the same bytes, so that a message can be had again as it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from adapters.cap.area import shapes
from adapters.cap.words import (
    ALL_CLEAR,
    CLASSES,
    LANGUAGES,
    LEVELS,
    MARKS,
    WITHDRAWN,
    Classification,
    Language,
    easy_words,
    event_words,
    instruction,
    still_open,
)
from broker.alerts import JST
from schemas.stages import STAGE_BY_CODE

CAP_XML: Final = "application/cap+xml"
NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
GEOCODE_NAME: Final = "全国地方公共団体コード"

MessageType = Literal["Alert", "Update", "Cancel"]
Status = Literal["Actual", "Exercise", "Test"]

_MOST_REFERENCES: Final = 100
_LONGEST_AREA: Final = 49  # Google's profile: shorter than 50 characters
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class CapProfile:
    """What messages say beside the alert itself. It is kept with each event, so that settings change no old message.

    ``geocode``: municipality, six digits; ``radius_km``: of the circle round a gauge; ``valid_for``: until ``expires``.
    """

    status: Status
    sender: str
    sender_name: str | None = None
    geocode: str | None = None
    radius_km: float = 1.0
    valid_for: timedelta = timedelta(hours=24)
    languages: tuple[Language, ...] = ("ja", "easy", "en")


def profile_document(profile: CapProfile) -> dict[str, Any]:
    """``profile`` as JSON, the member ``cap`` of an alert's document."""
    return {
        "status": profile.status,
        "sender": profile.sender,
        "senderName": profile.sender_name,
        "geocode": profile.geocode,
        "radiusKm": profile.radius_km,
        "validForSeconds": profile.valid_for.total_seconds(),
        "languages": list(profile.languages),
    }


def parse_profile(document: Mapping[str, Any]) -> CapProfile:
    """Read what :func:`profile_document` wrote."""
    return CapProfile(
        status=document["status"],
        sender=document["sender"],
        sender_name=document["senderName"],
        geocode=document["geocode"],
        radius_km=document["radiusKm"],
        valid_for=timedelta(seconds=document["validForSeconds"]),
        languages=tuple(document.get("languages", ("ja", "en"))),  # messages of before stay as they were
    )


@dataclass(frozen=True, slots=True)
class CapEvent:
    """One raise or clear, or a repeat (``reissued``): its number in the stream and its document.

    The document is ``broker.alerts.alert_message`` and ``cap``.
    """

    sequence: int
    alert_id: str
    kind: str
    document: Mapping[str, Any]
    recorded_at: datetime

    @property
    def profile(self) -> CapProfile:
        """What was set when it was recorded."""
        return parse_profile(self.document["cap"])

    @property
    def identifier(self) -> str:
        """The identifier of its message, never used twice: the alert and the number of the event."""
        return f"{self.alert_id}.{self.sequence}"

    @property
    def is_message(self) -> bool:
        """Whether there is a message of this event: it is the last one of those that a reading decided at once."""
        last = -1 if self.kind == "raised" else 0
        return bool(self.document["stagesCrossed"][last] == self.document["stage"])


@dataclass(frozen=True, slots=True)
class CapMessage:
    """A message of a chain. ``open_stages``: what is raised after it, lowest first; ``earlier``: what it refers to."""

    event: CapEvent
    type: MessageType
    open_stages: tuple[str, ...]
    earlier: tuple[CapEvent, ...]


def messages_of(events: Iterable[CapEvent]) -> list[CapMessage]:
    """The chain of messages that ``events`` make: all of one rule about one station, from calm on, in order.

    Messages of another status are another chain: no exercise refers to what is actual.
    """
    open_stages: dict[str, str] = {}
    messages: list[CapMessage] = []
    for event in events:
        if event.kind == "raised":
            open_stages[event.alert_id] = event.document["stage"]
        elif event.kind == "cleared":
            open_stages.pop(event.alert_id, None)
        if "cap" in event.document and event.is_message:
            status = event.document["cap"]["status"]
            earlier = tuple(m.event for m in messages if m.event.document["cap"]["status"] == status)
            raised = tuple(sorted(open_stages.values(), key=lambda stage: STAGE_BY_CODE[stage].order))
            kind = _type(event, is_first=not earlier, is_open=bool(raised))
            messages.append(CapMessage(event, kind, raised, earlier[-_MOST_REFERENCES:]))
    return messages


def _type(event: CapEvent, *, is_first: bool, is_open: bool) -> MessageType:
    if is_first:
        return "Alert"
    return "Cancel" if event.document["withdrawn"] and not is_open else "Update"


def write_message(message: CapMessage) -> bytes:
    """``message`` as XML in UTF-8."""
    return xml_bytes(message_element(message))


def message_element(message: CapMessage) -> Element:
    """``message`` as an element, for a document of its own or within another one."""
    event, profile = message.event, message.event.profile
    alert = Element("alert", xmlns=NAMESPACE)
    add(alert, "identifier", event.identifier)
    add(alert, "sender", profile.sender)
    add(alert, "sent", cap_time(event.recorded_at))
    add(alert, "status", profile.status)
    add(alert, "msgType", message.type)
    add(alert, "scope", "Public")
    if message.earlier:
        add(alert, "references", " ".join(_reference(earlier) for earlier in message.earlier))
    for language in profile.languages:
        _add_info(alert, message, profile, language)
    return alert


def _reference(event: CapEvent) -> str:
    return f"{event.document['cap']['sender']},{event.identifier},{cap_time(event.recorded_at)}"


def _add_info(alert: Element, message: CapMessage, profile: CapProfile, language: Language) -> None:
    event, document = message.event, message.event.document
    stage = message.open_stages[-1] if message.open_stages else document["stage"]
    is_open = bool(message.open_stages)
    codes = _codes(message, stage)
    mark = MARKS[profile.status][language]
    info = SubElement(alert, "info")
    add(info, "language", LANGUAGES[language])
    add(info, "category", "Met")
    add(info, "event", mark + event_words(stage, is_open=is_open, language=language))
    add(info, "responseType", codes.response_type)
    add(info, "urgency", codes.urgency)
    add(info, "severity", codes.severity)
    add(info, "certainty", codes.certainty)
    add(info, "effective", cap_time(event.recorded_at))
    add(info, "expires", cap_time(event.recorded_at + max(profile.valid_for, timedelta(seconds=1))))
    if profile.sender_name:
        add(info, "senderName", profile.sender_name)
    add(info, "headline", headline(event, language))
    add(info, "description", marked(mark, _description(message, stage, language)))
    if is_open:
        add(info, "instruction", instruction(stage, language))
    for name, value in _parameters(event, stage if is_open else None):
        _add_value(info, "parameter", name, value)
    _add_area(info, document, profile, language)


def _codes(message: CapMessage, stage: str) -> Classification:
    if message.open_stages:
        return CLASSES[stage]
    return WITHDRAWN if message.event.document["withdrawn"] else ALL_CLEAR


def headline(event: CapEvent, language: Language) -> str:
    """The headline of an event with the mark of its status."""
    mark = MARKS[event.document["cap"]["status"]][language]
    if language == "easy":
        return marked(mark, easy_words(event.document)[0])
    return marked(mark, str(event.document["headlineJa" if language == "ja" else "headlineEn"]))


def marked(mark: str, text: str) -> str:
    """``text`` with the mark before it, once: stations of a drill carry it in their names."""
    return text if mark and text.startswith(mark) else mark + text


def _description(message: CapMessage, stage: str, language: Language) -> str:
    if language == "easy":
        text = easy_words(message.event.document)[1]
    else:
        text = str(message.event.document["descriptionJa" if language == "ja" else "descriptionEn"])
    goes_on = message.event.kind == "cleared" and message.open_stages
    return text + still_open(stage, language) if goes_on else text


def _parameters(event: CapEvent, open_stage: str | None) -> Iterable[tuple[str, str]]:
    """What was measured, for programs."""
    document = event.document
    yield "alertId", event.alert_id
    yield "entityId", document["entityId"]
    yield "stage", document["stage"]
    yield "value", str(document["value"])
    if document["threshold"] is not None:
        yield "threshold", str(document["threshold"])
    for measure in document.get("measures", ()):
        if measure["value"] is not None:
            yield measure["kind"], str(measure["value"])
    yield "unitCode", document["unitCode"]
    yield "observedAt", document["observedAt"]
    if open_stage in LEVELS:
        yield "levelEquivalent", str(LEVELS[open_stage])


def _add_area(info: Element, document: Mapping[str, Any], profile: CapProfile, language: Language) -> None:
    name = document["stationNameEn" if language == "en" else "stationName"]
    area = SubElement(info, "area")
    add(area, "areaDesc", name if len(name) <= _LONGEST_AREA else name[: _LONGEST_AREA - 1] + "…")
    # All polygons come before all circles.
    for element, text in sorted(
        shapes(document.get("location"), profile.radius_km), key=lambda shape: shape[0] == "circle"
    ):
        add(area, element, text)
    if profile.geocode:
        _add_value(area, "geocode", GEOCODE_NAME, profile.geocode)


def _add_value(parent: Element, element: str, name: str, value: str) -> None:
    pair = SubElement(parent, element)
    add(pair, "valueName", name)
    add(pair, "value", value)


def cap_time(moment: datetime) -> str:
    """``2026-06-01T14:05:00+09:00``: seconds, and an offset in digits (CAP 1.2, 3.3.2)."""
    return moment.astimezone(JST).replace(microsecond=0).isoformat()


def add(parent: Element, name: str, text: str) -> Element:
    """A child with text; characters that XML cannot carry become U+FFFD."""
    child = SubElement(parent, name)
    child.text = _NOT_XML.sub("\ufffd", text)
    return child


def xml_bytes(root: Element) -> bytes:
    """The document of ``root`` in UTF-8."""
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def find_message(events: Sequence[CapEvent], sequence: int) -> CapMessage | None:
    """The message of a chain that tells of the event ``sequence``: its own, or the one of its reading."""
    return next((message for message in messages_of(events) if message.event.sequence >= sequence), None)
