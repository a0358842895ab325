# SPDX-License-Identifier: Apache-2.0
"""Forecasts: when they expire, how long they are kept, who may see them."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class ForecastSettings(BaseModel):
    """Forecasts: when they expire, how long they are kept, who may see them."""

    forecast_expires_minutes: int = setting(
        180, "forecasts", "Age at which a run expires that does not say so itself.",
        "期限を自ら示さない予測を期限切れとするまでの時間（分）。", ge=1, le=40_000,
    )  # fmt: skip
    forecast_retention_days: int = setting(
        400, "forecasts", "Age after which runs are deleted; until then they can be verified.",
        "予測を削除するまでの日数。それまでは検証に使える。", ge=1,
    )  # fmt: skip
    forecast_permission: str | None = setting(
        None, "forecasts",
        "Number of the permission to issue forecasts; without it no forecast can be made public.",
        "予報業務許可などの番号。なければ予測を一般に公開できない。", min_length=1, max_length=200,
    )  # fmt: skip
    baseline_forecast: bool = setting(
        True, "forecasts",
        "Every 10 minutes extrapolate what rules watch, for staff, as the measure of better models.",
        "ルールが見ている水位を10分ごとに外挿する（職員のみ。ほかのモデルを測る基準）。",
    )  # fmt: skip
    baseline_retention_days: int = setting(
        30, "forecasts", "Age after which runs of the hub's own extrapolation are deleted.",
        "ハブ自身の外挿の結果を削除するまでの日数。", ge=1,
    )  # fmt: skip
