# SPDX-License-Identifier: Apache-2.0
"""How the workers look for work."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class WorkerSettings(BaseModel):
    """How the workers look for work."""

    worker_poll_ms: int = setting(
        250,
        "workers",
        "Longest time until a worker looks for new change events by itself; normally it is woken at once.",
        "ワーカーが自分で新しい変更を見に行く間隔。通常は即座に起こされる。",
        ge=10,
        le=60_000,
    )
    worker_batch_events: int = setting(
        1000, "workers", "Most change events worked through in one transaction.",
        "1 トランザクションで処理する変更の最大数。", ge=1, le=100_000,
    )  # fmt: skip
    stale_factor: float = setting(
        2.5,
        "workers",
        "A sensor is shown as overdue after this many expected intervals without a reading.",
        "想定間隔のこの倍数だけ測定値が来ないと、センサーを「途絶」と表示する。",
        gt=1,
        le=100,
    )
