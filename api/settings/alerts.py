# SPDX-License-Identifier: Apache-2.0
"""Alerts, alarms and incidents."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr

from api.settings.fields import HttpUrls, setting


class AlertSettings(BaseModel):
    """Alerts, alarms and incidents."""

    alert_webhooks: HttpUrls = setting(
        (), "alerts", "URLs that get every alert by POST.", "すべての警報を POST で受け取る URL。"
    )
    alert_webhook_secret: SecretStr | None = setting(
        None,
        "alerts",
        "Signs every alert to these URLs (Standard Webhooks, HMAC-SHA256); 16 to 256 characters.",
        "これらの URL への警報に署名する鍵（Standard Webhooks、HMAC-SHA256）。16～256 文字。",
        min_length=16,
        max_length=256,
    )
    alert_silence_grace_s: float = setting(
        60,
        "alerts",
        "How long after a start nothing is called silent: devices send what they kept meanwhile.",
        "起動後、無通信の判定を待つ秒数（停止中に溜まったデータの受信を待つ）。",
        ge=0,
        le=3600,
    )
    clock_step_patience_s: float = setting(
        600,
        "alerts",
        "How long a step of the machine's clock must have lasted before timers of alarms follow it.",
        "機械の時計が急に変わったとき、警報のタイマーが新しい時刻に従うまでの秒数。それまでは変わる前の時刻で進む。",
        ge=0,
        le=86_400,
    )
    alert_states_write_s: float = setting(
        10,
        "alerts",
        "How long what rules have of readings that decide nothing is only in the memory of the worker, before it is "
        "written. A worker that starts counts those readings again.",
        "何も判定しない測定値について、ルールの状態を書き込むまでの最長秒数（起動時にはその分を数え直す）。",
        ge=0,
        le=600,
    )
    alert_states_in_memory: int = setting(
        50_000,
        "alerts",
        "How many states (of a rule for an entity) the worker keeps in memory: 1 kB each, up to 30 kB with conditions "
        "over long windows.",
        "ワーカーがメモリに置くルール状態（ルール×エンティティ）の最大数。1 件 1 kB、長い窓の条件では最大 30 kB。",
        ge=0,
        le=10_000_000,
    )
    alert_fresh_s: float = setting(
        60,
        "alerts",
        "Readings measured within so many seconds overtake older ones that the alert rules have still to look at; "
        "0: none do.",
        "警報ルールの処理が遅れているとき、この秒数以内に観測された値を先に判定する（0 は順番どおり）。",
        ge=0,
        le=3600,
    )
    rules_replay_max_readings: int = setting(
        200_000,
        "alerts",
        "Most readings that one replay of alert rules on history looks at.",
        "警報ルールを過去の記録で試算するとき、一度に読む観測値の上限。",
        ge=1000,
        le=10_000_000,
    )
    incident_reopen_hours: float = setting(
        6,
        "alerts",
        "An alarm on a river within so many hours of the end of an incident belongs to the same incident.",
        "事案の終了からこの時間内に同じ河川で起きた警報は、同じ事案として扱う。",
        ge=0,
        le=168,
    )
