# SPDX-License-Identifier: Apache-2.0
"""Neutral records of alarm steps: valid by their schema, true to the step, and never an order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from adapters.files.alarm_records import RECORDED, RecordSender, alarm_record, alarm_record_schema
from schemas.stages import ALL_STAGES
from support.alarm_steps import step

AT = datetime(2026, 6, 1, 5, 5, 10, 123456, UTC)
SENDER = RecordSender("minamo@city.example.jp", "三島市危機管理課", "222062")
ORDERS = ("避難指示", "避難勧告", "緊急安全確保", "高齢者等避難", "避難してください", "evacuate")


def record(kind: str = "raised", stage: str = "danger", **members: Any) -> dict[str, Any]:
    return alarm_record(step(kind, stage, **members), 12, 3, AT, SENDER)


@pytest.mark.parametrize("kind", RECORDED)
@pytest.mark.parametrize("stage", [stage.code for stage in ALL_STAGES])
def test_record_of_every_step_and_stage_is_valid_and_orders_nothing(kind: str, stage: str) -> None:
    one = record(kind, stage, location={"type": "Point", "coordinates": [138.93, 35.11]})
    jsonschema.validate(one, alarm_record_schema(), format_checker=jsonschema.FormatChecker())
    assert not [word for word in ORDERS if word in str(one)]


def test_schema_itself_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(alarm_record_schema())


def test_record_says_which_level_by_the_names_of_2026() -> None:
    level = record()["level"]
    assert (level["levelEquivalent"], level["warningOfThatLevel"]) == (4, "レベル４氾濫危険警報")
    assert (level["value"], level["threshold"], level["observedAt"]) == (1.52, 1.5, "2026-06-01T14:05:00+09:00")
    assert record("cleared")["level"]["levelEquivalent"] is None


def test_document_has_versions_and_kinds_of_information() -> None:
    kinds = {kind: record(kind)["infoType"] for kind in RECORDED}
    assert kinds["raised"] == "issued" and kinds["cleared"] == "cleared" and kinds["withdrawn"] == "cancelled"
    assert {kinds[kind] for kind in ("escalated", "downgraded", "silent", "returned")} == {"updated"}
    one = record()
    assert (one["documentId"], one["version"], one["issuedAt"]) == (step()["alarmId"], 3, "2026-06-01T14:05:10+09:00")


@pytest.mark.parametrize(("status", "mark"), [("Test", "【試験】"), ("Exercise", "【訓練】"), ("Actual", "【氾濫")])
def test_test_and_exercise_are_marked_in_status_and_words(status: str, mark: str) -> None:
    one = record(capStatus=status, exercise=status == "Exercise")
    assert one["status"] == status.lower() and one["text"]["ja"]["headline"].startswith(mark)


def test_step_of_before_statuses_were_kept_is_a_test() -> None:
    assert record()["status"] == "test"


def test_silent_station_has_no_level() -> None:
    level = record("silent", unknown=True)["level"]
    assert (level["value"], level["unknown"]) == (None, True)
