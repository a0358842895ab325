# SPDX-License-Identifier: Apache-2.0
"""How notifications are sent and tried again."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class DeliverySettings(BaseModel):
    """How notifications are sent and tried again."""

    delivery_timeout_s: float = setting(
        10, "delivery", "Longest wait for a receiver to answer.", "受信側の応答を待つ最長時間。", gt=0, le=300
    )
    delivery_max_age_hours: int = setting(
        72,
        "delivery",
        "How long a notification is tried before it becomes a dead letter (which can be replayed).",
        "通知の再送を続ける時間。過ぎると配信不能として保管する（再送可能）。",
        ge=1,
    )
    delivery_concurrency: int = setting(
        32,
        "delivery",
        "Notifications under way at once in one worker, those of alerts and bulk aside.",
        "1 ワーカーの同時送信数（警報と大量送信を除く）。",
        ge=1,
        le=1000,
    )
    delivery_alert_concurrency: int = setting(
        16, "delivery", "Deliveries of alerts under way at once in one worker: places that nothing else can take.",
        "1 ワーカーの警報の同時送信数。ほかの通知には使われない。", ge=1, le=1000,
    )  # fmt: skip
    delivery_bulk_concurrency: int = setting(
        8, "delivery", "Notifications to bulk consumers under way at once in one worker.",
        "1 ワーカーの大量送信（bulk）の同時送信数。", ge=1, le=1000,
    )  # fmt: skip
    per_destination_concurrency: int = setting(
        4,
        "delivery",
        "Of each of these, most to one host and port.",
        "そのうち同じ宛先（ホストとポート）への同時送信数。",
        ge=1,
        le=1000,
    )
    delivery_backoff_max_s: int = setting(
        600, "delivery", "Longest wait between two tries (the first is about 1 s, then doubling).",
        "再送間隔の上限（約 1 秒から倍増）。", ge=1, le=86_400,
    )  # fmt: skip
    delivery_pause_max_s: int = setting(
        30, "delivery", "Longest time a receiver that does not answer is left alone before it is asked again with one "
        "delivery (the first is about 1 s, then doubling).",
        "応答しない受信側を休ませる時間の上限（約 1 秒から倍増）。過ぎると 1 件だけ送って確かめる。", ge=1, le=3600,
    )  # fmt: skip
    allow_private_endpoints: bool = setting(
        False,
        "delivery",
        "Whether the hub may connect to private addresses (10.x, 192.168.x, ...) that requests name: receivers of "
        "notifications, contexts, context sources. Loopback is allowed without this as long as the API itself "
        "listens on loopback only and no public_url says that a proxy stands before it.",
        "要求が指定する接続先（通知先、コンテキスト、コンテキストソース）にプライベートアドレスを許すか。"
        "API がループバックのみで待ち受け、public_url もない間、ループバックへの接続はこの設定なしで許される。",
    )

    @property
    def delivery_places(self) -> int:
        """Most deliveries under way at once, of all lanes."""
        return self.delivery_concurrency + self.delivery_alert_concurrency + self.delivery_bulk_concurrency
