# SPDX-License-Identifier: Apache-2.0
"""What series for charts and history files look like, as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.building import COUNT, NUMBER, NUMBER_OR_NULL, TEXT, TEXT_OR_NULL, TIME, Schema, array, members, one_of
from api.openapi.quality_schemas import QUALITY
from broker.history.series import Method

_READING: Final[Schema] = {
    "anyOf": [members({"observedAt": TIME, "value": NUMBER}, ["observedAt", "value"]), {"type": "null"}]
}
_SERIES: Final[dict[str, Schema]] = {
    "entityId": TEXT,
    "attribute": TEXT,
    "attributeIri": TEXT,
    "datasetId": TEXT_OR_NULL,
    "unitCode": TEXT_OR_NULL | {"description": "Of all readings; null when they differ"},
    "unitCodes": array(TEXT),
    "from": TIME,
    "to": TIME,
    "asKnownAt": {"anyOf": [TIME, {"type": "null"}]},
    "method": one_of(*Method) | {"description": "How points were chosen; raw: all readings are there"},
    "rollup": TEXT_OR_NULL
    | {"description": "Of what points are made: 10m, 1h, 1d, or null: of readings", "examples": ["1h"]},
    "gapSeconds": NUMBER_OR_NULL | {"description": "A longer pause is a gap; null: not known"},
    "count": COUNT | {"description": "Of readings, not of points; so are first, last, min and max"},
    "first": _READING,
    "last": _READING,
    "min": _READING,
    "max": _READING,
    "columns": array(TEXT) | {"examples": [["time", "value", "notGood"]]},
    "data": array(array(NUMBER_OR_NULL))
    | {"description": "Seconds since 1970; value, null in a gap; share of readings that are not good (0 to 1)"},
}

_REJECTED: Final = members(
    {
        "row": COUNT | {"description": "Counted from 0, without the header"},
        "reason": TEXT | {"examples": ["observedAt", "value", "unknownEntity"]},
        "detail": TEXT,
    },
    ["row", "reason", "detail"],
)
_RESULT: Final[dict[str, Schema]] = {
    "rows": COUNT,
    "new": COUNT | {"description": "Rows that history did not have, those of corrections included"},
    "repeated": COUNT | {"description": "Rows that changed nothing"},
    "corrections": COUNT | {"description": "What was believed and is no longer"},
    "current": COUNT | {"description": "Attributes whose current value was older"},
    "created": array(TEXT) | {"description": "Entities that were made"},
    "rejected": array(_REJECTED),
}

HISTORY: Final[dict[str, Schema]] = {
    "ChartSeries": members(_SERIES, _SERIES),
    "ImportResult": members(_RESULT, _RESULT),
    **QUALITY,
}
"""All of them."""
