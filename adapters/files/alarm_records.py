# SPDX-License-Identifier: Apache-2.0
"""Neutral records of alarm steps, made ready for L-Alert (災害情報共有システム) without being its interface.

L-Alert takes XML of its own from registered senders only. What a person or a program with a contract needs for it is
here, member by member: a document with versions, the municipality's code, the named level and the words. The JSON
Schema is ``schemas/records/alarm_record.schema.json``. Pure: the same step gives the same record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from adapters.cap.words import LEVELS, WARNINGS
from broker.alerts import JST, level_names
from broker.contacts import Language, test_marked, words_of
from broker.times import parse_time
from schemas.stages import NO_DATA, STAGE_BY_CODE

SCHEMA: Final = "urn:minamo:schema:alarm-record:1"
RECORDED: Final = ("raised", "escalated", "downgraded", "cleared", "withdrawn", "silent", "returned")
"""The steps that the public side may have to know. What people did about an alarm stays inside."""

_INFO_TYPES: Final = {"raised": "issued", "cleared": "cleared", "withdrawn": "cancelled"}
_OVER: Final = frozenset({"cleared", "withdrawn"})
_NOTICE: Final = (
    "センサーの観測値のお知らせです。避難に関する情報ではありません。/ "
    "This is what a sensor observed. It is no evacuation information."
)
_LANGUAGES: Final[tuple[Language, ...]] = ("ja", "ja-easy", "en")


@dataclass(frozen=True, slots=True)
class RecordSender:
    """Who answers for the records: an id that is unique in the world, a name, and the municipality (six digits)."""

    sender: str
    name: str | None = None
    municipality: str | None = None


def alarm_record(
    step: Mapping[str, Any], number: int, version: int, recorded_at: datetime, sender: RecordSender
) -> dict[str, Any]:
    """The record of ``step`` (``broker.alerts.steps.step_document``), the ``version``-th of its alarm."""
    status = str(step.get("capStatus", "Test")).lower()
    return {
        "schema": SCHEMA,
        "documentId": step["alarmId"],
        "version": version,
        "recordId": number,
        "status": status,
        "infoType": _INFO_TYPES.get(step["kind"], "updated"),
        "kind": "riverLevel",
        "step": step["kind"],
        "issuedAt": _time(recorded_at),
        "sender": {"id": sender.sender, "name": sender.name, "municipalityCode": sender.municipality},
        "river": step.get("river"),
        "station": {
            "id": step["entityId"],
            "name": dict(step["stationName"]),
            "location": _place(step.get("location")),
        },
        "level": _level(step),
        "text": {language: _words(step, language, is_test=status == "test") for language in _LANGUAGES},
        "notice": _NOTICE,
    }


@cache
def alarm_record_schema() -> dict[str, Any]:
    """The JSON Schema of records; not to be changed."""
    text = files("schemas").joinpath("records", "alarm_record.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _level(step: Mapping[str, Any]) -> dict[str, Any]:
    stage = STAGE_BY_CODE[step["stage"]]
    name_ja, name_en = level_names(stage)
    equivalent = None if step["kind"] in _OVER else LEVELS.get(stage.code)
    is_unknown = bool(step.get("unknown")) or step["kind"] == "silent" or stage.code == NO_DATA
    observed = step.get("observedAt")
    return {
        "stage": stage.code,
        "stageName": {"ja": name_ja, "en": name_en},
        "levelEquivalent": equivalent,
        "warningOfThatLevel": None if equivalent is None else WARNINGS[equivalent],
        "value": None if is_unknown or step.get("bySilence") else step.get("value"),
        "threshold": step.get("threshold"),
        "unitCode": step["unitCode"],
        "reference": step.get("reference") or "gauge",
        "zeroPoint": step.get("zeroPoint"),
        "observedAt": None if observed is None else _time(parse_time(observed)),
        "peakValue": step.get("peakValue"),
        "unknown": is_unknown,
        "doubtful": bool(step.get("suspect")),
    }


def _words(step: Mapping[str, Any], language: Language, *, is_test: bool) -> dict[str, str]:
    words = words_of(step, language, JST)
    if is_test:
        words = test_marked(words, language)
    return {"headline": words.subject, "body": words.text}


def _place(location: Mapping[str, Any] | None) -> dict[str, float] | None:
    """A point of GeoJSON (longitude first); other shapes have no one place."""
    if not location or location.get("type") != "Point":
        return None
    longitude, latitude = location["coordinates"][:2]
    return {"latitude": latitude, "longitude": longitude}


def _time(moment: datetime) -> str:
    return moment.astimezone(JST).replace(microsecond=0).isoformat()
