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
    forecast_max_series: int = setting(
        2000, "forecasts", "Most series of one run.", "一回の計算結果に含められる系列の数。", ge=1, le=100_000,
    )  # fmt: skip
    forecast_max_times: int = setting(
        1000, "forecasts", "Most times of one series.", "一つの系列に含められる時刻の数。", ge=1, le=10_000,
    )  # fmt: skip
    forecast_max_lines: int = setting(
        200, "forecasts", "Most quantiles and members of one series.",
        "一つの系列に含められる分位点とメンバーの数。", ge=1, le=2000,
    )  # fmt: skip
    forecast_max_layers: int = setting(
        500, "forecasts", "Most polygons of inundation of one run.",
        "一回の計算結果に含められる浸水範囲の数。", ge=1, le=10_000,
    )  # fmt: skip
    forecast_max_days: int = setting(
        16, "forecasts", "How far ahead a run may look (days after it was issued).",
        "予測できる期間（計算時刻からの日数）。", ge=1, le=366,
    )  # fmt: skip
    forecast_verification_runs: int = setting(
        20_000, "forecasts", "Most runs that one verification looks at; the oldest come first.",
        "一度の検証で見る計算結果の数（古いものから）。", ge=1, le=1_000_000,
    )  # fmt: skip
    forecast_verification_points: int = setting(
        500_000, "forecasts", "Most measured values that one verification looks at.",
        "一度の検証で見る観測値の数。", ge=1, le=10_000_000,
    )  # fmt: skip
    baseline_max_series: int = setting(
        2000, "forecasts", "Most levels that the hub extrapolates every 10 minutes.",
        "ハブが10分ごとに外挿する水位の数の上限。", ge=1, le=100_000,
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
