# SPDX-License-Identifier: Apache-2.0
"""The ways by which people are told: mail, LINE, text messages."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, SecretStr, field_validator, model_validator

from adapters.line import API_URL
from adapters.mail import MailServer
from adapters.sms import DEFAULT_TEMPLATE, read_template
from api.settings.fields import setting


class ContactSettings(BaseModel):
    """The ways by which people are told: mail, LINE, text messages."""

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
