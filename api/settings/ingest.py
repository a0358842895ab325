# SPDX-License-Identifier: Apache-2.0
"""How readings are taken in, and which are put in quarantine."""

from __future__ import annotations

from pydantic import BaseModel

from api.settings.fields import setting


class IngestSettings(BaseModel):
    """How readings are taken in, and which are put in quarantine."""

    batch_max_readings: int = setting(
        1000,
        "ingest",
        "Most readings in one transaction.",
        "1 トランザクションの最大測定値数。",
        ge=1,
        le=100_000,
    )
    ingest_processes: int = setting(
        1,
        "ingest",
        "Processes that write readings. 1: the process that receives does it; more: so many besides, and all of a "
        "device go to the same one. Worth it where there are cores for them.",
        "測定値を書き込むプロセスの数。1 なら受信プロセスが自ら書き、2 以上なら別にその数だけ起動し、"
        "同じ機器の測定値は常に同じプロセスが順に書く。コアに余裕があるときに増やす。",
        ge=1,
        le=64,
    )
    ingest_lanes: int = setting(
        2,
        "ingest",
        "Transactions with readings at a time in each ingest process; what one device sends stays in one of them.",
        "取り込みプロセスごとに同時に行うトランザクションの数。同じ機器の測定値は常に同じ側で順に処理する。",
        ge=1,
        le=16,
    )
    batch_max_wait_ms: int = setting(
        0,
        "ingest",
        "Longest time a reading waits for others to share its commit; 0: no longer than the commit before it takes.",
        "コミットをまとめるために測定値を待たせる最長時間。0 なら直前のコミットが終わるまで。",
        ge=0,
        le=10_000,
    )
    batch_rest_ms: int = setting(
        100,
        "ingest",
        "Longest rest after a commit, which is as long as the commit took, so that more readings share the next one; "
        "0: none. A reading that comes alone does not wait.",
        "コミット後に休む最長時間（休むのはそのコミットにかかった時間）。高負荷時に一度にまとめるため。"
        "0 なら休まない。単独で届いた測定値は待たない。",
        ge=0,
        le=1000,
    )
    future_tolerance_s: int = setting(
        300,
        "ingest",
        "How far in the future a reading's time may lie before it is quarantined.",
        "測定時刻がこれより未来なら隔離する。",
        ge=0,
    )
    max_reading_age_days: int = setting(
        3660,
        "ingest",
        "How old a reading may be before it is quarantined (3660 = ten years, so that archives can be loaded).",
        "測定時刻がこれより古ければ隔離する（3660 = 約 10 年。過去データの取り込み用）。",
        ge=1,
    )
    max_payload_bytes: int = setting(
        65_536, "ingest", "Largest payload that is decoded; larger ones are quarantined.",
        "解読するペイロードの上限。超えたら隔離する。", ge=64, le=1_048_576,
    )  # fmt: skip
    device_state_interval_s: float = setting(
        60, "ingest", "How often at most a device's own entity is written: when it was last seen, battery, signal. "
        "What rarely changes is written at once.",
        "機器のエンティティ（最終受信、電池、電波）を書き込む最短間隔。まれに変わる項目は変化時に書く。", ge=0,
    )  # fmt: skip
    quarantine_held_days: int | None = setting(
        365, "ingest", "How long messages are held in quarantine before they are removed; empty: for ever.",
        "隔離したメッセージを保留する日数。空なら無期限。", ge=1, le=36_500,
    )  # fmt: skip
    quarantine_resolved_days: int | None = setting(
        30, "ingest", "How long messages that were replayed or dropped stay on record; empty: for ever.",
        "再投入または破棄したメッセージの記録を残す日数。空なら無期限。", ge=1, le=36_500,
    )  # fmt: skip
