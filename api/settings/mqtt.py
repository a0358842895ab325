# SPDX-License-Identifier: Apache-2.0
"""The MQTT broker, whether the city's or the embedded one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import BaseModel, SecretStr, field_validator, model_validator

from api.settings.fields import TopicFilters, setting
from ingest.topics import TOPIC_FILTERS


class MqttSettings(BaseModel):
    """The MQTT broker, whether the city's or the embedded one."""

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
        "Client id of the ingest; the broker keeps its session under this name, so each machine with ingest needs its "
        "own.",
        "受信プロセスの MQTT クライアント ID。セッションはこの名前で保たれるので、受信するマシンごとに変える。",
        min_length=1,
        max_length=128,
    )
    mqtt_shared_group: str | None = setting(
        None,
        "mqtt",
        "Name of the group in which ingest on several machines shares the messages of one broker (MQTT 5 shared "
        "subscriptions). The order of a device's readings is kept only if the broker gives all messages of a topic to "
        "one member (EMQX: hash_topic); mosquitto does not. With another group or none, change the client id too.",
        "複数のマシンで受信を分け合うグループ名（MQTT 5 の共有サブスクリプション）。機器ごとの順序は、"
        "ブローカーが同じトピックを同じ相手に渡す場合（EMQX の hash_topic）だけ保たれ、"
        "mosquitto では保たれない。"
        "グループを変えるときはクライアント ID も変える。",
        pattern=r"^[^/+#\s]{1,64}$",
    )
    mqtt_early_session: bool = setting(
        True,
        "mqtt",
        "Open a second session (client id with -early) while the broker has a backlog for the hub, so that alerts from "
        "what is published now do not wait for it; within alert_fresh_s.",
        "ブローカーに溜まった分を受け取る間だけ、いま届く測定値の警報を先に出すための二つ目のセッション"
        "（クライアント ID に -early を付ける）を開く。対象は alert_fresh_s 秒以内の値。",
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

    @field_validator("mqtt_url")
    @classmethod
    def _mqtt(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"mqtts?://[^/]", value.get_secret_value()):
            raise ValueError("is no mqtt:// or mqtts:// URL / mqtt:// または mqtts:// の URL ではありません")
        return value

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.mqtt_tls_certificate is None) != (self.mqtt_tls_key is None):
            raise ValueError(
                "mqtt_tls_certificate and mqtt_tls_key belong together / "
                "mqtt_tls_certificate と mqtt_tls_key は両方指定してください"
            )
        return self
