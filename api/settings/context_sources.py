# SPDX-License-Identifier: Apache-2.0
"""Other NGSI-LD brokers that are asked."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class ContextSourceSettings(BaseModel):
    """Other NGSI-LD brokers that are asked."""

    csource_timeout_s: float = setting(
        5, "context sources", "Longest wait for the answer of a context source; a registration may shorten it.",
        "コンテキストソースの応答を待つ最長時間。登録側でさらに短くできる。", gt=0, le=60,
    )  # fmt: skip
    csource_max_bytes: int = setting(
        16_777_216, "context sources", "Largest answer taken from a context source.",
        "コンテキストソースから受け取る応答の最大サイズ。", ge=1024,
    )  # fmt: skip
    csource_max_entities: int = setting(
        10_000, "context sources", "Most entities taken from one context source for one query, and most of the hub's "
        "own that are looked through when entities are split.",
        "1 回の検索で 1 つのコンテキストソースから受け取る最大件数。分割エンティティの検索では自分の側にも適用。",
        ge=1, le=1_000_000,
    )  # fmt: skip
    csource_concurrency: int = setting(
        64, "context sources", "Requests to context sources under way at once in one process.",
        "1 プロセスが同時に送るコンテキストソースへの要求の数。", ge=1, le=10_000,
    )  # fmt: skip
    split_entities: bool = setting(
        False, "context sources", "Whether an entity may be in parts at several context sources where a query does not "
        "say (splitEntities): filters are then applied here, to whole entities.",
        "splitEntities を省いた検索で、エンティティが複数のソースに分かれている前提にするか"
        "（条件はここで合成後に適用）。",
    )  # fmt: skip
