# SPDX-License-Identifier: Apache-2.0
"""Documents of others that are fetched on a schedule."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class PollSettings(BaseModel):
    """Settings of fetching documents."""

    poll_min_interval_s: float = setting(
        30, "ingest", "Shortest interval at which a poll may fetch a document of somebody else.",
        "外部の文書を定期取得する間隔の下限。", gt=0, le=86_400,
    )  # fmt: skip
    poll_timeout_s: float = setting(
        30, "ingest", "Longest time to fetch such a document.", "1 回の取得の時間の上限。", gt=0, le=600
    )
    poll_max_bytes: int = setting(
        16_777_216, "ingest", "Largest document that is fetched.", "取得する文書の大きさの上限。", ge=1024,
    )  # fmt: skip
    poll_concurrency: int = setting(
        4, "ingest", "Documents fetched at a time by each worker process.", "プロセスごとに同時に取得する文書の数。",
        ge=1, le=100,
    )  # fmt: skip
