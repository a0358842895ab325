# SPDX-License-Identifier: Apache-2.0
"""Text messages by the HTTP gateway of whatever provider the city has: a JSON template is filled in and posted."""

from __future__ import annotations

from typing import Any, Final

import orjson

from adapters.channels.webhook import HttpSender, SendResult

DEFAULT_TEMPLATE: Final = '{"to": "{to}", "text": "{text}"}'


class SmsSender:
    """Posts to the gateway at ``url``, with ``token`` as a bearer token where it wants one.

    In ``template``, a JSON document, ``{to}`` and ``{text}`` within texts stand for the number and the message. Raises
    ValueError when it is no JSON object or lacks one of them.
    """

    def __init__(self, http: HttpSender, url: str, token: str | None, template: str = DEFAULT_TEMPLATE) -> None:
        self._http = http
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._template = read_template(template)

    async def send(self, body: bytes) -> SendResult:
        """One attempt."""
        message = orjson.loads(body)
        filled = _filled(self._template, {"{to}": message["to"], "{text}": message["text"]})
        return await self._http.send(self._url, orjson.dumps(filled), dict(self._headers))


def read_template(text: str) -> dict[str, Any]:
    """The template as a document; raises ValueError."""
    try:
        template = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"the template of text messages is no JSON: {exc}") from exc
    if not isinstance(template, dict) or "{to}" not in text or "{text}" not in text:
        raise ValueError("the template of text messages has to be a JSON object with {to} and {text}")
    return template


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        for mark, text in words.items():
            value = value.replace(mark, text)
        return value
    if isinstance(value, dict):
        return {name: _filled(part, words) for name, part in value.items()}
    return [_filled(part, words) for part in value] if isinstance(value, list) else value
