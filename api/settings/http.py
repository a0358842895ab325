# SPDX-License-Identifier: Apache-2.0
"""Where the API listens, who may use it, how much one request may carry."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, model_validator

from api.settings.fields import PublicUrl, TokenHashes, is_loopback, setting


class HttpSettings(BaseModel):
    """Where the API listens, who may use it, how much one request may carry."""

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
        "Location, the addresses of contexts and the links in messages. Empty: as the request says, and no links.",
        "プロキシの背後にある場合の、クライアントから見たハブの URL（例 https://data.city.example/hub）。"
        "Link、Location、コンテキストの URL、メッセージ中のリンクに使う。"
        "空ならリクエストから判断し、メッセージにリンクは付けない。",
    )
    api_tokens_sha256: TokenHashes = setting(
        (),
        "http",
        "SHA-256 (hexadecimal) of each bearer token that may use the API; empty: no token is asked for, "
        "and only "
        "loopback is served.",
        "API を使えるベアラートークンの SHA-256（16進）。空なら認証なしで、ループバックのみ。",
    )
    briefed_tokens_sha256: TokenHashes = setting(
        (),
        "http",
        "The same for people and companies that were briefed: their tokens read what is public or for the briefed.",
        "説明を受けた市民・企業のトークン（同じ形式）。公開データと説明済み向けデータだけを読める。",
    )
    public_access: bool = setting(
        False,
        "http",
        "Requests without a token read what is public; off: they are refused. Needs api_tokens_sha256.",
        "トークンのない要求に公開データの読み取りを許す。オフなら拒否。api_tokens_sha256 が必要。",
    )
    max_request_bytes: int = setting(8_388_608, "http", "Largest request body.", "リクエスト本文の上限。", ge=1024)
    batch_max_entities: int = setting(
        1000, "http", "Most entities in one batch operation.", "一括操作 1 回の最大エンティティ数。", ge=1, le=100_000
    )

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
    def _audiences_need_staff(self) -> Self:
        if (self.briefed_tokens_sha256 or self.public_access) and not self.api_tokens_sha256:
            raise ValueError(
                "without api_tokens_sha256 everybody is staff: briefed_tokens_sha256 and public_access say nothing / "
                "api_tokens_sha256 がないと全員が職員扱いになり、briefed_tokens_sha256 と public_access は無意味です"
            )
        return self
