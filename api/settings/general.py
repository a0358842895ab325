# SPDX-License-Identifier: Apache-2.0
"""Where data lie, how the hub writes its log and in which language it speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, field_validator

from adapters.web.trust import http_context
from api.settings.fields import default_data_dir, setting


class GeneralSettings(BaseModel):
    """Where data lie, how the hub writes its log and in which language it speaks."""

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
    secret_keys_file: Path | None = setting(
        None,
        "general",
        "File with keys, one a line, that secrets are sealed with in the database (of polls, subscriptions, sources, "
        "contacts): the first seals, all open. Empty: they are stored as they are.",
        "秘密（定期取得、購読、ソース、連絡先）をデータベース内で暗号化する鍵のファイル。一行に一つ、先頭の鍵で暗号化し、"
        "どの鍵でも復号する。空なら暗号化しない。",
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

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("ca_file")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        http_context(value)
        return value.expanduser().absolute()

    @field_validator("secret_keys_file")
    @classmethod
    def _keys(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        from context_store.sealing import read_keys  # cryptography is loaded only where there are keys

        read_keys(value)
        return value.expanduser().absolute()
