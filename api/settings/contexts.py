# SPDX-License-Identifier: Apache-2.0
"""Remote JSON-LD contexts."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class ContextSettings(BaseModel):
    """Remote JSON-LD contexts."""

    context_fetch_timeout_s: float = setting(
        5,
        "context",
        "Longest wait for a remote @context.",
        "外部 @context の取得を待つ最長時間。",
        gt=0,
        le=60,
    )
    context_max_bytes: int = setting(
        1_048_576, "context", "Largest remote @context.", "外部 @context の最大サイズ。", ge=1024
    )
    context_max_documents: int = setting(
        20, "context", "Most remote documents that one @context may pull in.",
        "1 つの @context が参照できる外部文書の最大数。", ge=1, le=1000,
    )  # fmt: skip
    context_refresh_hours: int = setting(
        24, "context", "Age after which a stored remote @context is fetched again.",
        "保存した外部 @context を再取得するまでの時間。", ge=1,
    )  # fmt: skip
