# SPDX-License-Identifier: Apache-2.0
"""Forecasts and their verification as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.audience_schemas import AUDIENCE
from api.openapi.building import (
    BOOLEAN,
    COUNT,
    NUMBER,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    URI,
    Schema,
    array,
    members,
    one_of,
    ref,
)
from broker.alerts.forecasts import MODEL

_MOMENT: Final[Schema] = {"type": "string", "format": "date-time", "examples": ["2026-06-02T10:00:00+09:00"]}
_VALUES: Final = array(NUMBER, 1) | {"description": "At most MINAMO_FORECAST_MAX_TIMES"}
_GEOMETRY: Final[Schema] = {"type": "object", "description": "GeoJSON Polygon or MultiPolygon"}
_LEAD: Final[Schema] = {"type": "number", "minimum": 0, "description": "Seconds ahead"}
_LABEL: Final = members({"ja": TEXT, "en": TEXT}, ["ja", "en"])
_STATUS: Final[dict[str, Schema]] = {
    "runId": TEXT,
    "model": TEXT,
    "version": TEXT,
    "isBaseline": BOOLEAN,
    "issuedAt": TIME,
    "expiresAt": TIME,
    "status": one_of("current", "expired"),
}
_LINE: Final[dict[str, Schema]] = _STATUS | {
    "entityId": TEXT,
    "attribute": TEXT,
    "line": {"type": "string", "description": "Empty: the forecast itself; q0.9: a quantile; m3: a member"},
    "unitCode": TEXT_OR_NULL,
    "validAt": array(TIME),
    "values": array(NUMBER),
}
_RUN: Final[dict[str, Schema]] = _STATUS | {
    "receivedAt": TIME,
    "briefedUntil": TIME_OR_NULL,
    "publicUntil": TIME_OR_NULL,
}
_LAYER: Final[dict[str, Schema]] = {
    "validAt": TIME,
    "depthFrom": NUMBER,
    "depthTo": NUMBER_OR_NULL,
    "geometry": _GEOMETRY,
}
_ERRORS: Final = members(
    {"count": COUNT, "bias": NUMBER_OR_NULL, "mae": NUMBER_OR_NULL, "rmse": NUMBER_OR_NULL},
    ["count", "bias", "mae", "rmse"],
)
_TABLE: Final[dict[str, Schema]] = {
    "hits": COUNT,
    "misses": COUNT,
    "falseAlarms": COUNT,
    "correctNegatives": COUNT,
    "probabilityOfDetection": NUMBER_OR_NULL,
    "falseAlarmRatio": NUMBER_OR_NULL,
}
_CLASS: Final[dict[str, Schema]] = {
    "leadSeconds": NUMBER_OR_NULL | {"description": "Up to so many ahead; null: further"},
    "forecast": _ERRORS,
    "persistence": _ERRORS,
    "stages": {"type": "object", "additionalProperties": members(_TABLE, [*_TABLE])},
}

FORECASTS: Final[dict[str, Schema]] = {
    "ForecastRun": members(
        {
            "model": {"type": "string", "pattern": f"^{MODEL}$"},
            "version": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$", "default": "1"},
            "issuedAt": _MOMENT,
            "expiresAt": _MOMENT,
            "audience": {
                "anyOf": [AUDIENCE, members({"briefed": _LEAD, "public": _LEAD})],
                "default": "staff",
                "description": "Who may see it, or how far ahead each may look; staff sees everything",
            },
            "series": array(
                members(
                    {
                        "entityId": URI,
                        "attribute": TEXT,
                        "unitCode": {"type": "string", "pattern": "^[A-Z0-9]{2,3}$"},
                        "validAt": array(_MOMENT, 1),
                        "values": _VALUES,
                        "quantiles": {
                            "type": "object",
                            "propertyNames": {"pattern": r"^0\.\d{1,4}$"},
                            "additionalProperties": _VALUES,
                        },
                        "members": array(_VALUES),
                    },
                    ["entityId", "attribute", "validAt", "values"],
                )
            )
            | {"description": "At most MINAMO_FORECAST_MAX_SERIES"},
            "layers": array(
                members(
                    {"validAt": _MOMENT, "depthFrom": NUMBER, "depthTo": NUMBER_OR_NULL, "geometry": _GEOMETRY},
                    ["validAt", "depthFrom", "geometry"],
                )
            )
            | {"description": "At most MINAMO_FORECAST_MAX_LAYERS"},
        },
        ["model", "issuedAt"],
    ),
    "ForecastAccepted": members({"runId": TEXT, "isNew": BOOLEAN, "expiresAt": TIME}, ["runId", "isNew", "expiresAt"]),
    "Forecast": members(_LINE, [*_LINE]),
    "Forecasts": members(
        {"label": _LABEL, "generatedAt": TIME, "forecasts": array(ref("Forecast"))},
        ["label", "generatedAt", "forecasts"],
    ),
    "ForecastRuns": members({"label": _LABEL, "runs": array(members(_RUN, [*_RUN]))}, ["label", "runs"]),
    "ForecastRunDetail": members(
        {"label": _LABEL} | _RUN | {"series": array(ref("Forecast")), "layers": array(members(_LAYER, [*_LAYER]))},
        ["label", *_RUN, "series", "layers"],
    ),
    "ForecastVerification": members(
        {
            "label": _LABEL,
            "entityId": TEXT,
            "attribute": TEXT,
            "model": TEXT,
            "unitCode": TEXT,
            "from": TIME,
            "to": TIME,
            "runs": COUNT,
            "measured": COUNT,
            "thresholds": {"type": "object", "additionalProperties": NUMBER},
            "leads": array(members(_CLASS, [*_CLASS])),
        },
        ["entityId", "attribute", "model", "from", "to", "runs", "measured", "thresholds", "leads"],
    ),
}
