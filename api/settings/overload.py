# SPDX-License-Identifier: Apache-2.0
"""From which load on writes by the API are refused."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class OverloadSettings(BaseModel):
    """From which load on writes by the API are refused."""

    overload_pending: int = setting(
        2_000_000, "overload", "Deliveries that wait, from which on writes by the API are refused with 429 (batches "
        "and history from 80 %).",
        "配信待ちがこの件数に達すると API の書き込みを 429 で断る（一括と履歴は 80 % から）。", ge=1,
    )  # fmt: skip
    overload_outbox_mb: int = setting(
        10_240, "overload", "The same for the space that deliveries take on disk, kept ones included.",
        "同じく、通知の記録（保持分を含む）がディスクに占める容量。", ge=1,
    )  # fmt: skip
    overload_event_lag: int = setting(
        1_000_000, "overload", "The same for change events that wait to be matched.",
        "同じく、照合を待つ変更イベントの数。", ge=1,
    )  # fmt: skip
    overload_free_disk_mb: int = setting(
        1024, "overload", "Free space on the disk of the embedded database, below which writes by the API are refused.",
        "組み込みデータベースのディスクの空きがこれを下回ると API の書き込みを断る。", ge=1,
    )  # fmt: skip
