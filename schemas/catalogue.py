# SPDX-License-Identifier: Apache-2.0
"""Device models that come with the hub, as JSON documents with the names of its own context."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def built_in_models() -> tuple[dict[str, Any], ...]:
    """The documents (:mod:`broker.devices.models`); not to be changed."""
    text = files("schemas").joinpath("device_models", "catalogue.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))
