# SPDX-License-Identifier: Apache-2.0
"""The table that history is exported as and imported from: one row an attribute instance. Names, and what they mean.

The same columns in CSV and Parquet, described for users in docs/history-files.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

COLUMNS: Final = (
    "entityId",
    "type",
    "attribute",
    "datasetId",
    "kind",
    "observedAt",
    "recordedAt",
    "supersededAt",
    "value",
    "valueType",
    "unitCode",
    "quality",
    "source",
    "detail",
)
"""The columns in the order of an export. An import takes any order and needs only :data:`NEEDED`."""

NEEDED: Final = ("entityId", "attribute", "observedAt", "value")

TIMES: Final = ("observedAt", "recordedAt", "supersededAt")

# Spreadsheets take a cell that begins with one of these for a formula.
FORMULA_STARTS: Final = "=+-@\t\r"


class ValueType(StrEnum):
    """How the text in ``value`` is to be read. ``REMOVED``: the attribute was deleted, there is no value."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    JSON = "json"
    REMOVED = "removed"
