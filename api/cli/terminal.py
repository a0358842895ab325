# SPDX-License-Identifier: Apache-2.0
"""What commands that talk to a running hub share: where it is, what goes wrong, which language the reader wants."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Literal

import click
from pydantic import ValidationError

from api.cli.hub_client import HubClient, HubError
from api.settings import Settings


def load_settings() -> Settings:
    """The settings; ends the command with what is wrong with them."""
    try:
        return Settings()
    except (ValidationError, OSError) as exc:
        raise click.ClickException(f"the settings are not usable / 設定に誤りがあります:\n{_faults(exc)}") from exc


def _faults(error: Exception) -> str:
    """What is wrong with the settings, a line each, without the values (they may be secret)."""
    if not isinstance(error, ValidationError):
        return str(error)
    lines = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = "_".join(str(part) for part in fault["loc"]).upper()
        lines.append(f"  {'MINAMO_' + name if name else ''} {fault['msg']}".rstrip())
    return "\n".join(lines)


def client_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which hub, which tenant."""
    command = click.option("--tenant", help="Tenant / テナント")(command)
    return click.option("--url", envvar="MINAMO_URL", help="The hub; default: this machine, MINAMO_HTTP_PORT")(command)


def make_client(url: str | None, tenant: str | None) -> HubClient:
    """A client of the hub at ``url``, or of the one on this machine, open until the command ends."""
    client = HubClient(url or f"http://127.0.0.1:{load_settings().http_port}", tenant)
    return click.get_current_context().with_resource(client)


def guarded(work: Callable[[], None]) -> None:
    """Run ``work``; what goes wrong is one line, not a traceback."""
    try:
        work()
    except (HubError, OSError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        sys.exit(130)


def terminal_language() -> Literal["ja", "en"] | None:
    """The language of the terminal; None when it says neither."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    if locale.startswith("ja"):
        return "ja"
    return "en" if locale.startswith("en") else None


@cache
def _language() -> Literal["ja", "en"]:
    """The language of the settings, else of the terminal, else English."""
    chosen = load_settings().language
    return terminal_language() or "en" if chosen == "auto" else chosen


def in_words(english: str, japanese: str) -> str:
    """The one that the reader wants."""
    return japanese if _language() == "ja" else english
