# SPDX-License-Identifier: Apache-2.0
"""Settings of every Minamo process: environment variables ``MINAMO_*`` and one optional TOML file.

Order of precedence: arguments of the command line, environment, file, defaults. The file is the one named
by ``MINAMO_CONFIG``, or ``minamo.toml`` in the working folder when there is one; its keys are the field names
without prefix. Units are in the names (``_s`` seconds, ``_ms`` milliseconds, ``_bytes``, ``_hours``, ``_days``).

Only the composition root reads this object; inner code gets plain values. ``docs/settings.md`` is generated
from the fields (:mod:`api.settings_document`) and a test holds the two together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from adapters.line import API_URL
from adapters.mail import MailServer
from adapters.sms import DEFAULT_TEMPLATE, read_template
from adapters.trust import http_context
from api.settings_base import (
    HttpUrls,
    PublicUrl,
    TokenHashes,
    TopicFilters,
    default_data_dir,
    is_loopback,
    setting,
)
from broker.errors import BadRequestData
from broker.retention import Kept
from ingest.topics import TOPIC_FILTERS

ENVIRONMENT_PREFIX: Final = "MINAMO_"
CONFIG_VARIABLE: Final = "MINAMO_CONFIG"
DEFAULT_CONFIG_FILE: Final = "minamo.toml"
# Variables with our prefix that are not settings: where the file is, and what ./run hands to itself.
OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, "MINAMO_TOKEN", "MINAMO_URL"})


class Settings(BaseSettings):
    """What can be set; with nothing set, ``minamo up`` is a complete hub on this machine."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # inputs may be URLs with passwords
    )

    # general
    data_dir: Path = setting(
        default_data_dir,
        "general",
        "Folder of the embedded servers, their logs and generated credentials (default: /var/lib/minamo "
        "for root, "
        "else $XDG_DATA_HOME/minamo).",
        "組み込みサーバーのデータ、ログ、生成した認証情報を置くフォルダー（既定: root は /var/lib/minamo、"
        "それ以外は $XDG_DATA_HOME/minamo）。",
    )
    ca_file: Path | None = setting(
        None,
        "general",
        "File (PEM) with certificate authorities that are believed besides the well-known ones wherever the hub "
        "connects by TLS: receivers, MQTT brokers, contexts.",
        "TLS 接続先（通知先、MQTT ブローカー、コンテキスト）で追加で信頼する認証局の証明書ファイル（PEM）。",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "general", "Least severe log line that is written.", "出力するログの下限レベル。"
    )
    log_format: Literal["auto", "json", "console"] = setting(
        "auto",
        "general",
        "Form of log lines; auto: console on a terminal, JSON otherwise.",
        "ログの形式。auto は端末なら読みやすい形、それ以外は JSON。",
    )
    language: Literal["auto", "ja", "en"] = setting(
        "auto",
        "general",
        "Language of the command line; auto: Japanese when LC_ALL, LC_MESSAGES or LANG says so, else English.",
        "コマンドラインの言語。auto は環境変数 LC_ALL、LC_MESSAGES、LANG に従う。",
    )
    context_source_alias: str | None = setting(
        None,
        "general",
        "Pseudonym of this hub towards other NGSI-LD brokers, by which they detect loops (a token of RFC 7230); empty: "
        "made from the database.",
        "他の NGSI-LD ブローカーに対するこのハブの別名（ループ検出用、RFC 7230 のトークン）。"
        "空ならデータベースから作る。",
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$",
    )

    # database
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

    # mqtt
    mqtt_url: SecretStr | None = setting(
        None,
        "mqtt",
        "MQTT broker of the city, mqtt://user:password@host:port or mqtts://...; empty: the embedded mosquitto.",
        "市の MQTT ブローカー（mqtt://ユーザー:パスワード@ホスト:ポート、TLS は mqtts://）。"
        "空なら組み込みの"
        " mosquitto を使う。",
    )
    mqtt_topic_filters: TopicFilters = setting(
        TOPIC_FILTERS,
        "mqtt",
        "What is subscribed to: the hub's own topics, those of FIWARE IoT Agents, The Things Stack and ChirpStack. "
        "Beside a FIWARE stack in service, only minamo/v1/+/readings keeps its messages out of quarantine.",
        "購読するトピック。ハブ自身、FIWARE IoT Agent、The Things Stack、ChirpStack の形。"
        "稼働中の FIWARE と同じブローカーでは minamo/v1/+/readings だけにできる。",
    )
    mqtt_client_id: str = setting(
        "minamo-ingest",
        "mqtt",
        "Client id of the ingest; the broker keeps its session under this name, so each ingest process needs its own.",
        "受信プロセスの MQTT クライアント ID。セッションはこの名前で保たれるので、プロセスごとに変える。",
        min_length=1,
        max_length=128,
    )
    mqtt_host: str = setting(
        "127.0.0.1",
        "mqtt",
        "Address on which the embedded mosquitto listens without TLS: keep it on loopback or a closed network.",
        "組み込み mosquitto が TLS なしで待ち受けるアドレス。ループバックか閉域網で使う。",
    )
    mqtt_port: int = setting(
        1883,
        "mqtt",
        "Preferred port of the embedded mosquitto; when it is taken at the first set-up, the next free "
        "one is "
        "used and remembered in the data folder.",
        "組み込み mosquitto の希望ポート。初回設定時に使用中なら次の空きポートを使い、データフォルダーに記録する。",
        ge=1,
        le=65535,
    )
    mqtt_tls_certificate: Path | None = setting(
        None, "mqtt", "Certificate of the embedded mosquitto with its chain (PEM): with it and its key, devices "
        "connect by TLS too. A renewed one is taken in within ten minutes.",
        "組み込み mosquitto の TLS 証明書（PEM、中間証明書を含む）。鍵とともに指定すると TLS で接続できる。"
        "更新は 10 分以内に反映。",
    )  # fmt: skip
    mqtt_tls_key: Path | None = setting(
        None, "mqtt", "Its private key (PEM), without a pass phrase.", "その秘密鍵（PEM、パスフレーズなし）。"
    )
    mqtt_tls_host: str = setting(
        "0.0.0.0",  # noqa: S104 - with a certificate only, for devices elsewhere
        "mqtt",
        "Address on which the embedded mosquitto listens with TLS.",
        "組み込み mosquitto が TLS で待ち受けるアドレス。",
    )
    mqtt_tls_port: int = setting(
        8883, "mqtt", "Port of the embedded mosquitto with TLS.", "組み込み mosquitto の TLS のポート。", ge=1, le=65535
    )
    mqtt_public_url: str | None = setting(
        None, "mqtt", "Where devices find the MQTT broker, such as mqtts://mqtt.city.example:8883: for what people are "
        "told when they register one.",
        "機器から見た MQTT ブローカーの URL（例 mqtts://mqtt.city.example:8883）。登録時の案内に使う。",
        pattern=r"^mqtts?://[^/@\s]+$",
    )  # fmt: skip
    mqtt_keepalive_s: int = setting(
        30, "mqtt", "Keep alive of the hub's MQTT connection.", "MQTT 接続の keep alive 間隔。", ge=5, le=3600
    )
    mqtt_session_expiry_s: int = setting(
        604_800,
        "mqtt",
        "How long the broker keeps messages for the hub while it is away (604800 = 7 days).",
        "ハブの停止中にブローカーがメッセージを保持する時間（604800 = 7 日）。",
        ge=60,
        le=0xFFFFFFFE,
    )
    mqtt_receive_maximum: int = setting(
        4000,
        "mqtt",
        "Most messages delivered to the hub and not yet acknowledged.",
        "ハブに届き、まだ受信確認していないメッセージの上限。",
        ge=1,
        le=65535,
    )
    mqtt_max_queued_messages: int = setting(
        1_000_000,
        "mqtt",
        "Messages that the embedded mosquitto keeps in memory for a hub that is away; more are dropped by it.",
        "ハブの停止中に組み込み mosquitto がメモリーに保持するメッセージ数。超えた分は破棄される。",
        ge=1000,
    )
    mqtt_autosave_interval_s: int = setting(
        5,
        "mqtt",
        "How often the embedded mosquitto writes what it holds to disk: what a crash of it can lose.",
        "組み込み mosquitto が保持内容をディスクに書く間隔。異常終了時に失われ得る時間。",
        ge=1,
        le=3600,
    )

    # http
    http_host: str = setting(
        "127.0.0.1",
        "http",
        "Address on which the API listens; others than loopback need api_tokens_sha256.",
        "API が待ち受けるアドレス。ループバック以外では api_tokens_sha256 が必要。",
        min_length=1,
    )
    http_port: int = setting(
        8080, "http", "Port of the API; 0: any free one.", "API のポート。0 なら空きポート。", ge=0, le=65535
    )
    public_url: PublicUrl = setting(
        None,
        "http",
        "Where clients find the hub, such as https://data.city.example/hub, when a proxy stands before it: for Link, "
        "Location and the addresses of contexts. Empty: as the request says.",
        "プロキシの背後にある場合の、クライアントから見たハブの URL（例 https://data.city.example/hub）。"
        "Link、Location、コンテキストの URL に使う。空ならリクエストから判断する。",
    )
    api_tokens_sha256: TokenHashes = setting(
        (),
        "http",
        "SHA-256 (hexadecimal) of each bearer token that may use the API; empty: no token is asked for, "
        "and only "
        "loopback is served.",
        "API を使えるベアラートークンの SHA-256（16進）。空なら認証なしで、ループバックのみ。",
    )
    max_request_bytes: int = setting(8_388_608, "http", "Largest request body.", "リクエスト本文の上限。", ge=1024)
    batch_max_entities: int = setting(
        1000, "http", "Most entities in one batch operation.", "一括操作 1 回の最大エンティティ数。", ge=1, le=100_000
    )

    # ingest
    batch_max_readings: int = setting(
        1000,
        "ingest",
        "Most readings in one transaction.",
        "1 トランザクションの最大測定値数。",
        ge=1,
        le=100_000,
    )
    ingest_lanes: int = setting(
        2,
        "ingest",
        "Transactions with readings at a time in each ingest process; what comes by one topic stays in one of them.",
        "取り込みプロセスごとに同時に行うトランザクションの数。同じトピックの測定値は常に同じ側で順に処理する。",
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

    # workers
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

    # quality and silence
    supervision_interval_s: float = setting(
        30,
        "quality",
        "How often the worker looks which devices are late, silent or dead.",
        "センサーの遅延・途絶をワーカーが確認する間隔。",
        gt=0,
        le=3600,
    )
    quality_max_values: int = setting(
        10_000,
        "quality",
        "Most values that one decision of a person about their quality may be about.",
        "品質の確認・訂正を 1 回で行える値の最大数。",
        ge=1,
        le=1_000_000,
    )

    # delivery
    alert_webhooks: HttpUrls = setting(
        (), "delivery", "URLs that get every alert by POST.", "すべての警報を POST で受け取る URL。"
    )
    alert_silence_grace_s: float = setting(
        60,
        "delivery",
        "How long after a start nothing is called silent: devices send what they kept meanwhile.",
        "起動後、無通信の判定を待つ秒数（停止中に溜まったデータの受信を待つ）。",
        ge=0,
        le=3600,
    )
    rules_replay_max_readings: int = setting(
        200_000,
        "delivery",
        "Most readings that one replay of alert rules on history looks at.",
        "警報ルールを過去の記録で試算するとき、一度に読む観測値の上限。",
        ge=1000,
        le=10_000_000,
    )
    incident_reopen_hours: float = setting(
        6,
        "delivery",
        "An alarm on a river within so many hours of the end of an incident belongs to the same incident.",
        "事案の終了からこの時間内に同じ河川で起きた警報は、同じ事案として扱う。",
        ge=0,
        le=168,
    )
    smtp_url: SecretStr | None = setting(
        None,
        "delivery",
        "Mail server for contacts: smtp://user:password@host:587 (STARTTLS) or smtps://...; empty: no mail.",
        "連絡先へのメールを送るサーバー（smtp://ユーザー:パスワード@ホスト:587 または smtps://）。空ならメールなし。",
    )
    smtp_from: str = setting(
        "", "delivery", "Address that mail to contacts comes from.", "連絡先へのメールの差出人アドレス。"
    )
    line_channel_token: SecretStr | None = setting(
        None,
        "delivery",
        "Channel access token of the LINE Messaging API.",
        "LINE Messaging API のチャネルアクセストークン。",
    )
    line_api_url: str = setting(
        API_URL, "delivery", "Where messages to LINE are posted.", "LINE へのメッセージの送信先 URL。"
    )
    sms_gateway_url: SecretStr | None = setting(
        None, "delivery", "HTTP gateway for text messages.", "SMS を送る HTTP ゲートウェイの URL。"
    )
    sms_gateway_token: SecretStr | None = setting(
        None, "delivery", "Bearer token for that gateway.", "そのゲートウェイのベアラートークン。"
    )
    sms_gateway_template: str = setting(
        DEFAULT_TEMPLATE,
        "delivery",
        "What is posted to that gateway: JSON with {to} and {text}.",
        "そのゲートウェイに送る JSON（{to} は番号、{text} は本文）。",
    )
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
    overload_pending: int = setting(
        2_000_000, "delivery", "Deliveries that wait, from which on writes by the API are refused with 429 (batches "
        "and history from 80 %).",
        "配信待ちがこの件数に達すると API の書き込みを 429 で断る（一括と履歴は 80 % から）。", ge=1,
    )  # fmt: skip
    overload_outbox_mb: int = setting(
        10_240, "delivery", "The same for the space that deliveries take on disk, kept ones included.",
        "同じく、通知の記録（保持分を含む）がディスクに占める容量。", ge=1,
    )  # fmt: skip
    overload_event_lag: int = setting(
        1_000_000, "delivery", "The same for change events that wait to be matched.",
        "同じく、照合を待つ変更イベントの数。", ge=1,
    )  # fmt: skip
    overload_free_disk_mb: int = setting(
        1024, "delivery", "Free space on the disk of the embedded database, below which writes by the API are refused.",
        "組み込みデータベースのディスクの空きがこれを下回ると API の書き込みを断る。", ge=1,
    )  # fmt: skip
    allow_private_endpoints: bool = setting(
        False,
        "delivery",
        "Whether subscriptions may notify private addresses (10.x, 192.168.x, ...). Loopback is allowed "
        "without "
        "this as long as the API itself listens on loopback only.",
        "サブスクリプションの通知先にプライベートアドレスを許すか。API がループバックのみで待ち受ける間、"
        "ループバックへの通知はこの設定なしで許される。",
    )

    stream_max_open: int = setting(
        1000, "delivery", "Most streams of notifications open at once in one process.",
        "1 プロセスで同時に開ける通知ストリームの数。", ge=1, le=100_000,
    )  # fmt: skip
    stream_heartbeat_s: float = setting(
        15, "delivery", "A stream on which nothing happens sends a sign of life this often.",
        "通知がないときにストリームへ生存信号を送る間隔。", gt=0, le=300,
    )  # fmt: skip
    stream_stall_s: float = setting(
        60, "delivery", "A client that takes nothing of what it is sent for so long is cut off; it can resume.",
        "この時間受け取りが進まないクライアントは切断する（続きから再開できる）。", gt=0, le=3600,
    )  # fmt: skip

    # cap
    cap_status: Literal["Actual", "Exercise", "Test"] = setting(
        "Test",
        "cap",
        "What the CAP messages of new alerts are: Actual for the real ones of a hub in service, Exercise for a drill.",
        "新しい警報の CAP メッセージの区分。運用中の本物は Actual、訓練は Exercise、試験は Test。",
    )
    cap_sender: str = setting(
        "minamo.invalid",
        "cap",
        "Sender of CAP messages, unique in the world, such as minamo@city.example.jp. Needed for Actual.",
        "CAP メッセージの発信者（世界で一意。例 minamo@city.example.jp）。Actual には必須。",
        pattern=r"^[!-%'-+\-.-;=-~]{1,200}$",
    )
    cap_sender_name: str | None = setting(
        None, "cap", "Name of the sender for people.", "発信者の名称（例 静岡市危機管理課）。", max_length=200
    )
    cap_geocode: str | None = setting(
        None,
        "cap",
        "Code of the municipality that messages are about, six digits with the check digit.",
        "対象の市区町村の全国地方公共団体コード（検査数字を含む6桁）。",
        pattern=r"^[0-9]{6}$",
    )
    cap_radius_km: float = setting(
        1.0, "cap", "Radius of the circle round a station in km.", "観測局を囲む円の半径（km）。", gt=0, le=100
    )
    cap_valid_hours: int = setting(
        24,
        "cap",
        "Hours until a message expires, unless another one follows; an alert may be open for longer.",
        "次のメッセージがないとき CAP メッセージが失効するまでの時間。アラートはそれより長く続くことがある。",
        ge=1,
        le=720,
    )

    # context
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

    # context sources
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

    # query
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

    export_concurrency: int = setting(
        2, "query", "Exports at once in one process; others wait for their turn.",
        "1 プロセスで同時に行うエクスポートの数。ほかは順番を待つ。", ge=1, le=100,
    )  # fmt: skip

    # history
    history_retention_days: int | None = setting(
        None, "history",
        "Age after which instances of history are deleted, where a tenant has no rule of its own; empty: never. "
        "Rollups stay.",
        "テナント独自の規則がないとき、履歴の個々の値を削除するまでの日数。空なら削除しない。集計値は残る。", ge=2,
    )  # fmt: skip
    rollup_10m_retention_days: int | None = setting(
        None, "history", "The same for rollups of 10 minutes; no shorter than the instances. Empty: never.",
        "10分集計を削除するまでの日数（個々の値より短くはできない）。空なら削除しない。", ge=2,
    )  # fmt: skip
    rollup_1h_retention_days: int | None = setting(
        None, "history", "The same for rollups of an hour; no shorter than those of 10 minutes. Empty: never.",
        "1時間集計を削除するまでの日数（10分集計より短くはできない）。空なら削除しない。", ge=2,
    )  # fmt: skip
    timescale_compress_after_days: int | None = setting(
        30, "history",
        "With TimescaleDB's edition under the Timescale License: age after which chunks of history are compressed; "
        "empty: never. Without it, no effect.",
        "TimescaleDB（Timescale License 版）で、履歴のチャンクを圧縮するまでの日数。空なら圧縮しない。"
        "ほかの構成では効果なし。", ge=1,
    )  # fmt: skip
    event_retention_hours: int = setting(
        72, "history", "Age after which change events are deleted.", "変更イベントを削除するまでの時間。", ge=1
    )
    notification_retention_hours: int = setting(
        24, "history", "Age after which notifications that were delivered, or are there to be pulled, are deleted: how "
        "far back a receiver can catch up.",
        "配信済みの通知と、取りに来るのを待つ通知を削除するまでの時間。受信側がさかのぼって受け取れる範囲。", ge=1,
    )  # fmt: skip

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("sms_gateway_template")
    @classmethod
    def _template(cls, value: str) -> str:
        read_template(value)
        return value

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> Self:
        if self.smtp_url is not None:
            MailServer.of_url(self.smtp_url.get_secret_value(), self.smtp_from)
        return self

    @field_validator("ca_file")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        http_context(value)
        return value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"postgres(ql)?://", value.get_secret_value()):
            raise ValueError("is no postgresql:// URL / postgresql:// の URL ではありません")
        return value

    @field_validator("mqtt_url")
    @classmethod
    def _mqtt(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"mqtts?://[^/]", value.get_secret_value()):
            raise ValueError("is no mqtt:// or mqtts:// URL / mqtt:// または mqtts:// の URL ではありません")
        return value

    @model_validator(mode="after")
    def _closed_without_authentication(self) -> Self:
        if not self.api_tokens_sha256 and not is_loopback(self.http_host):
            raise ValueError(
                f"the API would be open to everybody on {self.http_host}: set MINAMO_API_TOKENS_SHA256, "
                f"or listen on "
                f"127.0.0.1 / 認証なしで {self.http_host} を公開しようとしています。"
                f"MINAMO_API_TOKENS_SHA256 を"
                "設定するか、127.0.0.1 で待ち受けてください"
            )
        return self

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.mqtt_tls_certificate is None) != (self.mqtt_tls_key is None):
            raise ValueError(
                "mqtt_tls_certificate and mqtt_tls_key belong together / "
                "mqtt_tls_certificate と mqtt_tls_key は両方指定してください"
            )
        return self

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        for low, high in (
            ("database_pool_min", "database_pool_max"),
            ("query_default_limit", "query_max_limit"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} is larger than {high} / {low} が {high} を超えています")
        return self

    @model_validator(mode="after")
    def _actual_has_a_sender(self) -> Self:
        if self.cap_status == "Actual" and self.cap_sender.endswith(".invalid"):
            raise ValueError(
                "cap_status is Actual and nobody is named as cap_sender / "
                "cap_status が Actual なのに、発信者 cap_sender が設定されていません"
            )
        return self

    @property
    def delivery_places(self) -> int:
        """Most deliveries under way at once, of all lanes."""
        return self.delivery_concurrency + self.delivery_alert_concurrency + self.delivery_bulk_concurrency

    @model_validator(mode="after")
    def _tiers_agree(self) -> Self:
        try:
            _ = self.kept
        except BadRequestData as exc:
            raise ValueError(
                f"{exc} (history_retention_days, rollup_..._retention_days) / "
                "保存期間は、個々の値、10分集計、1時間集計の順に長く（または同じに）してください"
            ) from exc
        return self

    @property
    def kept(self) -> Kept:
        """How long history is kept where a tenant has no rule."""
        return Kept(self.history_retention_days, self.rollup_10m_retention_days, self.rollup_1h_retention_days)

    @property
    def loopback_endpoints_allowed(self) -> bool:
        """Whether notifications may go to loopback: only while nobody else can create subscriptions."""
        return self.allow_private_endpoints or is_loopback(self.http_host)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file(os.environ))


def _config_file(environ: Mapping[str, str]) -> Path:
    """The file to read; one that is named explicitly has to exist."""
    named = environ.get(CONFIG_VARIABLE)
    if named and not Path(named).is_file():
        raise FileNotFoundError(f"{CONFIG_VARIABLE}={named}: no such file / ファイルがありません")
    return Path(named or DEFAULT_CONFIG_FILE)


def unknown_variables(environ: Iterable[str] = os.environ) -> list[str]:
    """Names with our prefix that set nothing: most often misspelled, which would silently mean the "
    "default."""
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    return sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX) and name not in known)
