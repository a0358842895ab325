# SPDX-License-Identifier: Apache-2.0
"""CAP messages."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, model_validator

from api.settings.fields import setting


class CapSettings(BaseModel):
    """CAP messages."""

    cap_status: Literal["Actual", "Exercise", "Test"] = setting(
        "Test",
        "cap",
        "What the CAP messages of new alerts are: Actual for the real ones of a hub in service, Exercise for a drill.",
        "新しい警報の CAP メッセージの区分。運用中の本物は Actual、訓練は Exercise、試験は Test。",
    )
    cap_sender: str = setting(
        "minamo.invalid",
        "cap",
        "Sender of CAP messages, unique in the world, such as minamo@city.example.jp. Needed for Actual.",
        "CAP メッセージの発信者（世界で一意。例 minamo@city.example.jp）。Actual には必須。",
        pattern=r"^[!-%'-+\-.-;=-~]{1,200}$",
    )
    cap_sender_name: str | None = setting(
        None, "cap", "Name of the sender for people.", "発信者の名称（例 静岡市危機管理課）。", max_length=200
    )
    cap_geocode: str | None = setting(
        None,
        "cap",
        "Code of the municipality that messages are about, six digits with the check digit.",
        "対象の市区町村の全国地方公共団体コード（検査数字を含む6桁）。",
        pattern=r"^[0-9]{6}$",
    )
    cap_radius_km: float = setting(
        1.0, "cap", "Radius of the circle round a station in km.", "観測局を囲む円の半径（km）。", gt=0, le=100
    )
    cap_valid_hours: int = setting(
        24,
        "cap",
        "Hours until a message expires, unless another one follows; an alert may be open for longer.",
        "次のメッセージがないとき CAP メッセージが失効するまでの時間。アラートはそれより長く続くことがある。",
        ge=1,
        le=720,
    )

    @model_validator(mode="after")
    def _actual_has_a_sender(self) -> Self:
        if self.cap_status == "Actual" and self.cap_sender.endswith(".invalid"):
            raise ValueError(
                "cap_status is Actual and nobody is named as cap_sender / "
                "cap_status が Actual なのに、発信者 cap_sender が設定されていません"
            )
        return self
