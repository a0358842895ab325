# SPDX-License-Identifier: Apache-2.0
"""How much one query or export may ask for."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class QuerySettings(BaseModel):
    """How much one query or export may ask for."""

    query_default_limit: int = setting(
        20,
        "query",
        "Entities on a page when the request gives no limit.",
        "limit 省略時の件数。",
        ge=1,
        le=10_000,
    )
    query_max_limit: int = setting(1000, "query", "Largest limit of a request.", "limit の上限。", ge=1, le=100_000)
    temporal_max_instances: int = setting(
        10_000, "query", "Most attribute instances in one temporal answer; more are paged.",
        "履歴の 1 回の応答に含める最大件数。", ge=1, le=1_000_000,
    )  # fmt: skip
    temporal_answers_mb: int = setting(
        32, "query", "MB in a process for answers about the history of an entity, kept for the same question; 0: none.",
        "同じ質問のために保持する、エンティティの履歴の応答（1 プロセスの MB）。0 で無効。", ge=0, le=65_536,
    )  # fmt: skip
    export_concurrency: int = setting(
        2, "query", "Exports at once in one process; others wait for their turn.",
        "1 プロセスで同時に行うエクスポートの数。ほかは順番を待つ。", ge=1, le=100,
    )  # fmt: skip
