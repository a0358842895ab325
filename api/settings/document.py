# SPDX-License-Identifier: Apache-2.0
"""``docs/settings.md``, generated from the fields: ``python -m api.settings.document > "
"docs/settings.md``."""

from __future__ import annotations

import sys
from typing import Final

from api.settings.hub import Settings

GROUPS: Final[dict[str, str]] = {
    "general": "General / 全般",
    "database": "Database / データベース",
    "mqtt": "MQTT broker / MQTT ブローカー",
    "http": "HTTP and access / HTTP とアクセス",
    "ingest": "Ingest / 受信",
    "workers": "Workers and live view / ワーカーと画面表示",
    "quality": "Quality and silence / 品質と途絶",
    "alerts": "Alerts and incidents / 警報と事案",
    "forecasts": "Forecasts / 予測",
    "contacts": "Ways to people / 連絡手段",
    "delivery": "Notifications and webhooks / 通知と Webhook",
    "overload": "Overload / 過負荷",
    "streams": "Streams / ストリーム",
    "cap": "CAP messages / CAP メッセージ",
    "context": "JSON-LD contexts / JSON-LD コンテキスト",
    "context sources": "Context sources / コンテキストソース",
    "query": "Queries / 検索",
    "history": "History / 履歴",
}


def _shown_default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "see text"
    default = field.default
    if default is None or default == ():
        return "empty"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def settings_table() -> str:
    """The tables of ``docs/settings.md``, one a group, in Markdown."""
    lines: list[str] = []
    for group, heading in GROUPS.items():
        lines += [
            f"## {heading}",
            "",
            "| setting | default | what it is | 説明 |",
            "| --- | --- | --- | --- |",
        ]
        for name, field in Settings.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra["group"] == group:
                lines.append(f"| `{name}` | {_shown_default(name)} | {field.description} | {extra['ja']} |")
        lines.append("")
    return "\n".join(lines)


def settings_document() -> str:
    """The whole of ``docs/settings.md``."""
    return (
        "# Settings / 設定\n\n"
        "Generated from the code: `python -m api.settings.document > docs/settings.md`.\n\n"
        "Each setting is an environment variable (`http_port` is `MINAMO_HTTP_PORT`) or a key in a TOML "
        "file\n"
        "(`minamo.toml` in the working folder, or the file named by `MINAMO_CONFIG`); the environment "
        "wins. Lists are\n"
        "written with commas in the environment. None has to be set. The suffix of a name is its unit.\n\n"
        "各設定は環境変数（`http_port` なら `MINAMO_HTTP_PORT`）か TOML ファイル（作業フォルダーの "
        "`minamo.toml`、\n"
        "または `MINAMO_CONFIG` が示すファイル）で指定します。環境変数が優先されます。"
        "リストは環境変数では\n"
        "カンマ区切りです。設定は必須ではありません。名前の末尾は単位です。\n\n" + settings_table()
    )


if __name__ == "__main__":
    sys.stdout.write(settings_document())
