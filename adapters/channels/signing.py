# SPDX-License-Identifier: Apache-2.0
"""Signatures of deliveries, in the form of Standard Webhooks 1.0, for which there are libraries in many languages.

HMAC-SHA256 over ``<delivery id>.<Unix time>.<body>``. The time lets a receiver refuse what somebody recorded and sends
again; every attempt is signed anew.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_ENCODED: Final = "whsec_"  # a secret with this prefix is base64 of the key


def signature_headers(secret: str, delivery_id: str, moment_s: int, body: bytes) -> dict[str, str]:
    """The headers that sign ``body``, sent at ``moment_s`` (Unix time)."""
    signed = f"{delivery_id}.{moment_s}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return {
        "Webhook-Id": delivery_id,
        "Webhook-Timestamp": str(moment_s),
        "Webhook-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key(secret: str) -> bytes:
    if secret.startswith(_ENCODED):
        try:
            return base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
        except binascii.Error:
            pass  # then it only looks like one
    return secret.encode()
