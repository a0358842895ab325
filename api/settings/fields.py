# SPDX-License-Identifier: Apache-2.0
"""What the fields of :mod:`api.settings` are made of: their types, defaults that depend on the machine, "
"documentation."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

_SHA256 = re.compile(r"[0-9a-f]{64}")


def default_data_dir(environ: Mapping[str, str] = os.environ, *, is_root: bool | None = None) -> Path:
    """``/var/lib/minamo`` for root, else ``$XDG_DATA_HOME/minamo`` (``~/.local/share/minamo``)."""
    if os.geteuid() == 0 if is_root is None else is_root:
        return Path("/var/lib/minamo")
    base = environ.get("XDG_DATA_HOME", "")
    # The XDG base directory specification: a relative path is invalid and is ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "minamo"


def is_loopback(host: str) -> bool:
    """Whether listening on ``host`` is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: object) -> object:
    """A list given as text: a JSON array, or items between commas or blanks."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if text.startswith("[") else [item for item in re.split(r"[\s,]+", text) if item]


def _token_hash(value: str) -> str:
    if not _SHA256.fullmatch(value.lower()):
        raise ValueError(
            "is not a SHA-256 in 64 hexadecimal digits; make one with: printf %s TOKEN | sha256sum / "
            "SHA-256（16進64桁）ではありません。作り方: printf %s トークン | sha256sum"
        )
    return value.lower()


def _http_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise ValueError(f"{value!r} is not an http or https URL / http または https の URL ではありません")
    return value


def _public_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
        raise ValueError(
            f"{value!r} is not an http or https URL without a query / "
            f"クエリのない http または https の URL ではありません"
        )
    return value.rstrip("/")


def _topic_filter(value: str) -> str:
    if not re.fullmatch(r"(?!\$)[^\s#+]*((?<![^/])\+(?![^/])[^\s#+]*)*((?<![^/])#)?", value) or not value:
        raise ValueError(f"{value!r} is no MQTT topic filter / MQTT のトピックフィルターではありません")
    return value


TopicFilter = Annotated[str, AfterValidator(_topic_filter)]
TopicFilters = Annotated[tuple[TopicFilter, ...], NoDecode, BeforeValidator(_split)]
PublicUrl = Annotated[str, AfterValidator(_public_url)] | None
HttpUrl = Annotated[str, AfterValidator(_http_url)]
HttpUrls = Annotated[tuple[HttpUrl, ...], NoDecode, BeforeValidator(_split)]
TokenHashes = Annotated[tuple[Annotated[str, AfterValidator(_token_hash)], ...], NoDecode, BeforeValidator(_split)]


def setting(default: Any, group: str, en: str, ja: str, **constraints: Any) -> Any:
    """A field that is documented: ``en`` and ``ja`` say what it is, ``group`` where the table shows it."""
    if callable(default):
        constraints["default_factory"] = default
    else:
        constraints["default"] = default
    return Field(description=en, json_schema_extra={"group": group, "ja": ja}, **constraints)
