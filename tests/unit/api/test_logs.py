# SPDX-License-Identifier: Apache-2.0
"""Log lines: one JSON object each, library lines included, no secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from api.logs import configure_logging, get_logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    output = io.StringIO()
    configure_logging("info", "auto", output)
    yield output
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def line(stream: io.StringIO) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(stream.getvalue())
    return parsed


def test_a_line_is_json_when_nobody_watches(stream: io.StringIO) -> None:
    get_logger("hub").info("batch_committed", readings=3, station="水面")
    shown = line(stream)
    assert (shown["event"], shown["readings"], shown["station"], shown["level"], shown["logger"]) == (
        "batch_committed", 3, "水面", "info", "hub",
    )  # fmt: skip


def test_lines_of_libraries_have_the_same_form(stream: io.StringIO) -> None:
    logging.getLogger("library").warning("pool of %s is full", "hub")
    assert line(stream)["event"] == "pool of hub is full"


def test_less_severe_lines_are_left_out(stream: io.StringIO) -> None:
    get_logger("hub").debug("detail")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"api_token": "hunter2"},
        {"headers": {"Authorization": "hunter2"}},
        {"url": "postgresql://hub:hunter2@db/minamo"},
        {"urls": ["mqtt://hub:hunter2@broker"]},
    ],
)
def test_secrets_do_not_show(stream: io.StringIO, fields: dict[str, Any]) -> None:
    get_logger("hub").info("connected", **fields)
    assert "hunter2" not in stream.getvalue()


def test_secrets_in_tracebacks_do_not_show(stream: io.StringIO) -> None:
    try:
        raise ConnectionError("cannot reach amqp://hub:hunter2@broker")
    except ConnectionError:
        get_logger("hub").exception("lost")
    assert "ConnectionError" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_numbers_under_such_names_stay(stream: io.StringIO) -> None:
    get_logger("hub").info("loaded", tokens=3)
    assert line(stream)["tokens"] == 3


def test_a_terminal_gets_readable_lines(stream: io.StringIO) -> None:
    output = io.StringIO()
    configure_logging("info", "console", output)
    get_logger("hub").info("started", port=8080)
    assert "port=8080" in output.getvalue()
    assert stream.getvalue() == ""
