# SPDX-License-Identifier: Apache-2.0
"""Quality of readings and silence of sensors."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class QualitySettings(BaseModel):
    """Quality of readings and silence of sensors."""

    supervision_interval_s: float = setting(
        30,
        "quality",
        "How often the worker looks which devices are late, silent or dead.",
        "センサーの遅延・途絶をワーカーが確認する間隔。",
        gt=0,
        le=3600,
    )
    quality_max_values: int = setting(
        10_000,
        "quality",
        "Most values that one decision of a person about their quality may be about.",
        "品質の確認・訂正を 1 回で行える値の最大数。",
        ge=1,
        le=1_000_000,
    )
