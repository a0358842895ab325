# SPDX-License-Identifier: Apache-2.0
"""A series of a run as the entity of its station says it (:func:`broker.alerts.forecasts.curve_of` reads it)."""

from __future__ import annotations

from typing import Any

from broker.forecasts.runs import ForecastRun, ForecastSeries
from broker.times import to_text


def curve_document(run: ForecastRun, series: ForecastSeries, count: int) -> dict[str, Any]:
    """The first ``count`` values of a series as the entity says them."""
    lines = {name[1:]: list(values[:count]) for name, values in sorted(series.lines.items()) if name.startswith("q")}
    return {
        "attribute": series.attribute,
        "model": run.model,
        "version": run.version,
        "runId": run.run_id,
        "issuedAt": to_text(run.issued_at),
        "expiresAt": to_text(run.expires_at),
        "unitCode": series.unit_code,
        "validAt": [to_text(moment) for moment in series.valid_at[:count]],
        "values": list(series.values[:count]),
    } | ({"quantiles": lines} if lines else {})
