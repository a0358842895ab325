# SPDX-License-Identifier: Apache-2.0
"""Words of further languages that come with the hub, as JSON documents (:mod:`broker.contacts.catalogues`)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def built_in_words() -> tuple[dict[str, Any], ...]:
    """The documents, by the code of their language; not to be changed."""
    folder = files("schemas").joinpath("words")
    texts = sorted((one.name, one.read_text(encoding="utf-8")) for one in folder.iterdir())
    return tuple(json.loads(text) for name, text in texts if name.endswith(".json"))
