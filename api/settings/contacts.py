# SPDX-License-Identifier: Apache-2.0
"""The ways by which people are told: mail, LINE, text messages, Web Push."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, SecretStr, field_validator, model_validator

from adapters.channels.line import API_URL
from adapters.channels.mail import MailServer
from adapters.channels.sms import DEFAULT_TEMPLATE, read_template
from adapters.channels.web_push import decode
from adapters.files.language_files import catalogue_files
from api.settings.fields import setting
from broker.contacts import read_catalogues
from broker.errors import BadRequestData


class ContactSettings(BaseModel):
    """The ways by which people are told: mail, LINE, text messages, Web Push."""

    smtp_url: SecretStr | None = setting(
        None,
        "contacts",
        "Mail server for contacts: smtp://user:password@host:587 (STARTTLS) or smtps://...; empty: no mail.",
        "連絡先へのメールを送るサーバー（smtp://ユーザー:パスワード@ホスト:587 または smtps://）。空ならメールなし。",
    )
    smtp_from: str = setting(
        "", "contacts", "Address that mail to contacts comes from.", "連絡先へのメールの差出人アドレス。"
    )
    line_channel_token: SecretStr | None = setting(
        None,
        "contacts",
        "Channel access token of the LINE Messaging API.",
        "LINE Messaging API のチャネルアクセストークン。",
    )
    line_api_url: str = setting(
        API_URL, "contacts", "Where messages to LINE are posted.", "LINE へのメッセージの送信先 URL。"
    )
    sms_gateway_url: SecretStr | None = setting(
        None, "contacts", "HTTP gateway for text messages.", "SMS を送る HTTP ゲートウェイの URL。"
    )
    sms_gateway_token: SecretStr | None = setting(
        None, "contacts", "Bearer token for that gateway.", "そのゲートウェイのベアラートークン。"
    )
    sms_gateway_template: str = setting(
        DEFAULT_TEMPLATE,
        "contacts",
        "What is posted to that gateway: JSON with {to} and {text}.",
        "そのゲートウェイに送る JSON（{to} は番号、{text} は本文）。",
    )
    languages_dir: Path | None = setting(
        None,
        "contacts",
        "Folder with catalogues of further languages for messages to contacts (JSON, one file a language).",
        "連絡先への知らせの言語を増やす辞書（JSON、1 言語 1 ファイル）を置くフォルダー。",
    )
    web_push_key: SecretStr | None = setting(
        None,
        "contacts",
        "Key of the hub for Web Push: 32 bytes in base64url. Empty: one that the hub made for itself and keeps in the "
        "database. Browsers have to be enrolled again when it changes.",
        "Web Push のためのハブの鍵（32 バイトを base64url で）。空なら、ハブが作ってデータベースに保管した鍵を使う。"
        "変えるとブラウザーの登録をやり直すことになる。",
    )
    web_push_subject: str = setting(
        "",
        "contacts",
        "Whom push services can ask about the hub: mailto:... or https://...; empty: mailto: and MINAMO_SMTP_FROM.",
        "プッシュサービスがハブについて問い合わせる先（mailto:... または https://...）。空なら MINAMO_SMTP_FROM の"
        "アドレス。",
        pattern=r"^((mailto:|https://)\S+)?$",
    )
    web_push_ttl_s: int = setting(
        86_400,
        "contacts",
        "How long push services keep a message for a browser that is not there.",
        "ブラウザーが受け取れないとき、プッシュサービスが知らせを預かる時間。",
        ge=60,
        le=2_419_200,
    )

    @field_validator("languages_dir")
    @classmethod
    def _catalogues(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                read_catalogues(catalogue_files(value))
            except BadRequestData as exc:
                raise ValueError(exc.detail) from exc
        return value

    @field_validator("web_push_key")
    @classmethod
    def _push_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        try:
            length = len(decode(value.get_secret_value()))
        except ValueError:
            length = 0
        if length != 32:
            raise ValueError("is not 32 bytes in base64url / 32 バイトの base64url ではありません")
        return value

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
