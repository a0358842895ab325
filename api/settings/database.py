# SPDX-License-Identifier: Apache-2.0
"""The database: whose it is, how many connections, TimescaleDB."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, SecretStr, field_validator

from api.settings.fields import setting


class DatabaseSettings(BaseModel):
    """The database: whose it is, how many connections, TimescaleDB."""

    database_url: SecretStr | None = setting(
        None,
        "database",
        "PostgreSQL of the city, postgresql://...; empty: the embedded private cluster.",
        "市の PostgreSQL（postgresql://...）。空なら組み込みの専用クラスターを使う。",
    )
    database_pool_min: int = setting(
        2, "database", "Connections kept open by each process.", "各プロセスが常に保つ接続数。", ge=0, le=1000
    )
    database_pool_max: int = setting(
        10, "database", "Most connections of each process.", "各プロセスの最大接続数。", ge=1, le=1000
    )
    timescaledb: Literal["auto", "off"] = setting(
        "auto",
        "database",
        "auto: a new embedded cluster uses TimescaleDB when it is installed; off: native partitions. An "
        "existing "
        "cluster stays what it is.",
        "auto は TimescaleDB があれば新しい組み込みクラスターで使う。off は PostgreSQL "
        "標準のパーティション。"
        "既存のクラスターは変わらない。",
    )
    postgres_shared_buffers_mb: int | None = setting(
        None,
        "database",
        "Shared memory of the embedded PostgreSQL; empty: 1/32 of the memory, between 64 and 512.",
        "組み込み PostgreSQL の共有メモリー（MB）。空なら搭載メモリーの 1/32（64〜512）。",
        ge=16,
    )

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"postgres(ql)?://", value.get_secret_value()):
            raise ValueError("is no postgresql:// URL / postgresql:// の URL ではありません")
        return value
