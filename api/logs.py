# SPDX-License-Identifier: Apache-2.0
"""Logging of every process: one line an event, JSON when nobody watches, readable on a terminal.

Lines of libraries that use :mod:`logging` (uvicorn, psycopg_pool, APScheduler) go the same way. Secrets do not get
into a line: values under names like ``password`` or ``token`` are replaced, and so are passwords inside URLs.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "json", "console"]

HIDDEN: Final = "***"
# Say at level info what nobody needs; httpx also shows URLs of requests, which may hold a key.
_TALKATIVE: Final = ("httpx", "apscheduler", "alembic.runtime.plugins")
_SECRET_NAME = re.compile(r"password|passwd|secret|token|authorization|cookie|credential|api_?key", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE)


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: the same event without secrets, also in nested values."""
    return {name: _hidden(name, value) for name, value in event.items()}


def _hidden(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name) and value is not None and not isinstance(value, bool | int | float):
        return HIDDEN
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\g<before>{HIDDEN}", value)
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden("", item) for item in value]
    return value


def configure_logging(level: str = "info", log_format: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog and :mod:`logging` to write to ``stream`` (default: standard error, read at each call).

    Standard output stays free for what commands answer. May be called again, for instance by tests.
    """
    output = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and output.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_final_steps(console, output))
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # they bring handlers of their own
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _final_steps(console: bool, output: TextIO) -> list[Processor]:
    """What turns an event into text. Tracebacks become text first, so that secrets are hidden in them too."""
    last: Processor
    if console:
        last = structlog.dev.ConsoleRenderer(colors=output.isatty())
    else:
        last = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        hide_secrets,
        last,
    ]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module: ``log = get_logger(__name__)``; events are short names, facts are keywords."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
