# SPDX-License-Identifier: Apache-2.0
"""Push messages of the LINE Messaging API. The retry key makes a repeated attempt harmless: LINE answers 409 to it."""

from __future__ import annotations

import uuid
from typing import Final

from adapters.channels.webhook import HttpSender, SendResult

API_URL: Final = "https://api.line.me/v2/bot/message/push"
_ACCEPTED_BEFORE: Final = 409
_NEVER: Final = frozenset({400, 401, 403})  # no such user, no such token: trying again cannot help
_NAMESPACE: Final = uuid.UUID("6f0c9f1e-3c0b-5d1c-9a55-5f7f6f0d2b11")


class LineSender:
    """Pushes as the channel whose ``token`` it is."""

    def __init__(self, http: HttpSender, token: str, url: str = API_URL) -> None:
        self._http = http
        self._token = token
        self._url = url

    async def send(self, body: bytes, delivery_id: str) -> SendResult:
        """One attempt at the delivery of this number."""
        key = str(uuid.uuid5(_NAMESPACE, delivery_id))
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "X-Line-Retry-Key": key,
        }
        result = await self._http.send(self._url, body, headers)
        if result.status == _ACCEPTED_BEFORE:
            return SendResult(True, result.status)
        return SendResult(result.ok, result.status, result.error, final=result.status in _NEVER)
