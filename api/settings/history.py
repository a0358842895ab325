# SPDX-License-Identifier: Apache-2.0
"""How long history, rollups, events and notifications are kept."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, model_validator

from api.settings.fields import setting
from broker.errors import BadRequestData
from broker.history.retention import Kept


class HistorySettings(BaseModel):
    """How long history, rollups, events and notifications are kept."""

    history_retention_days: int | None = setting(
        None, "history",
        "Age after which instances of history are deleted, where a tenant has no rule of its own; empty: never. "
        "Rollups stay.",
        "テナント独自の規則がないとき、履歴の個々の値を削除するまでの日数。空なら削除しない。集計値は残る。", ge=2,
    )  # fmt: skip
    rollup_10m_retention_days: int | None = setting(
        None, "history", "The same for rollups of 10 minutes; no shorter than the instances. Empty: never.",
        "10分集計を削除するまでの日数（個々の値より短くはできない）。空なら削除しない。", ge=2,
    )  # fmt: skip
    rollup_1h_retention_days: int | None = setting(
        None, "history", "The same for rollups of an hour; no shorter than those of 10 minutes. Empty: never.",
        "1時間集計を削除するまでの日数（10分集計より短くはできない）。空なら削除しない。", ge=2,
    )  # fmt: skip
    timescale_compress_after_days: int | None = setting(
        30, "history",
        "With TimescaleDB's edition under the Timescale License: age after which chunks of history are compressed; "
        "empty: never. Without it, no effect.",
        "TimescaleDB（Timescale License 版）で、履歴のチャンクを圧縮するまでの日数。空なら圧縮しない。"
        "ほかの構成では効果なし。", ge=1,
    )  # fmt: skip
    event_retention_hours: int = setting(
        72, "history", "Age after which change events are deleted.", "変更イベントを削除するまでの時間。", ge=1
    )
    notification_retention_hours: int = setting(
        24, "history", "Age after which notifications that were delivered, or are there to be pulled, are deleted: how "
        "far back a receiver can catch up.",
        "配信済みの通知と、取りに来るのを待つ通知を削除するまでの時間。受信側がさかのぼって受け取れる範囲。", ge=1,
    )  # fmt: skip

    @model_validator(mode="after")
    def _tiers_agree(self) -> Self:
        try:
            _ = self.kept
        except BadRequestData as exc:
            raise ValueError(
                f"{exc} (history_retention_days, rollup_..._retention_days) / "
                "保存期間は、個々の値、10分集計、1時間集計の順に長く（または同じに）してください"
            ) from exc
        return self

    @property
    def kept(self) -> Kept:
        """How long history is kept where a tenant has no rule."""
        return Kept(self.history_retention_days, self.rollup_10m_retention_days, self.rollup_1h_retention_days)
