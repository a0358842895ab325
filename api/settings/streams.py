# SPDX-License-Identifier: Apache-2.0
"""Notifications that clients pull as a stream."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class StreamSettings(BaseModel):
    """Notifications that clients pull as a stream."""

    stream_max_open: int = setting(
        1000, "streams", "Most streams of notifications open at once in one process.",
        "1 プロセスで同時に開ける通知ストリームの数。", ge=1, le=100_000,
    )  # fmt: skip
    stream_heartbeat_s: float = setting(
        15, "streams", "A stream on which nothing happens sends a sign of life this often.",
        "通知がないときにストリームへ生存信号を送る間隔。", gt=0, le=300,
    )  # fmt: skip
    stream_stall_s: float = setting(
        60, "streams", "A client that takes nothing of what it is sent for so long is cut off; it can resume.",
        "この時間受け取りが進まないクライアントは切断する（続きから再開できる）。", gt=0, le=3600,
    )  # fmt: skip
