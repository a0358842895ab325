# SPDX-License-Identifier: Apache-2.0
"""Web Push: messages to browsers by the push service of their makers (RFC 8030), which cannot read them (RFC 8291).

The hub says who it is with a key of its own (VAPID, RFC 8292): browsers are enrolled for that key, and only messages
that it signed reach them. The body of a delivery is ``{"browser": {"p256dh", "auth"}, "topic", "urgency", "message"}``;
its destination is the address that the browser gave, with ``push+`` before it.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters.channels.webhook import HttpSender, SendResult
from broker.contacts import ENROLMENT_ENDED

PREFIX: Final = "push+"
SCHEMES: Final = frozenset({"push+https", "push+http"})
LARGEST_TEXT: Final = 3993  # bytes that fit into the 4096 of RFC 8291, 4, with header (86), delimiter and tag (17)

_RECORD_SIZE: Final = 4096
_ENDED: Final = frozenset({404, 410})  # RFC 8030, 7.3: the browser is not there any more
_NEVER: Final = frozenset({400, 401, 403, 413})  # another key, or too large: trying again cannot help
_TOKEN_S: Final = 12 * 3600  # lifetime of what says who the hub is; at most a day (RFC 8292, 2)
_RENEW_S: Final = 3600  # before its end
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the group P-256


class HubKey:
    """The key of the hub, made of 32 secret bytes: the same bytes are the same key."""

    def __init__(self, secret: bytes) -> None:
        # Into 1 to order - 1. Of random bytes only one in 2^32 is not there already.
        number = int.from_bytes(secret, "big")
        self._key = ec.derive_private_key(number if 0 < number < _ORDER else number % (_ORDER - 1) + 1, ec.SECP256R1())

    @property
    def public(self) -> str:
        """What browsers are enrolled for (``applicationServerKey``): an uncompressed point in base64url."""
        return encode(_point(self._key.public_key()))

    def token(self, audience: str, subject: str | None, expires: int) -> str:
        """Who sends, for the push service ``audience`` (an origin), until ``expires`` (RFC 7519 signed by ES256)."""
        claims: dict[str, str | int] = {"aud": audience, "exp": expires}
        if subject:
            claims["sub"] = subject
        text = f"{encode(orjson.dumps({'typ': 'JWT', 'alg': 'ES256'}))}.{encode(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@dataclass(frozen=True, slots=True)
class WebPushOptions:
    """``secret`` gives the 32 bytes of the hub's key when first needed; ``subject`` is whom push services can ask
    (``mailto:`` or ``https:``); ``ttl_s``: how long they keep a message for a browser that is not there.
    """

    secret: Callable[[], Awaitable[bytes]]
    subject: str | None = None
    ttl_s: int = 86_400


class WebPushSender:
    """Encrypts for the browser and posts to its push service."""

    def __init__(self, http: HttpSender, options: WebPushOptions) -> None:
        self._http = http
        self._options = options
        self._key: HubKey | None = None
        self._tokens: dict[str, tuple[str, int]] = {}  # by origin, with the end of each

    async def send(self, destination: str, body: bytes) -> SendResult:
        """One attempt; never raises for what the service does."""
        document = orjson.loads(body)
        endpoint = destination.removeprefix(PREFIX)
        headers = {
            "Authorization": await self._authorization(endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(self._options.ttl_s),
            "Urgency": document["urgency"],
        }
        if document.get("topic"):
            headers["Topic"] = document["topic"]
        browser = document["browser"]
        sealed = encrypt(orjson.dumps(document["message"]), decode(browser["p256dh"]), decode(browser["auth"]))
        result = await self._http.send(endpoint, sealed, headers)
        if result.status in _ENDED:
            return SendResult(False, result.status, f"{ENROLMENT_ENDED} (HTTP {result.status})", final=True)
        if result.status in _NEVER:
            return SendResult(False, result.status, result.error, final=True)
        return result

    async def _authorization(self, endpoint: str) -> str:
        if self._key is None:
            self._key = HubKey(await self._options.secret())
        parts = urlsplit(endpoint)
        origin, now = f"{parts.scheme}://{parts.netloc}", int(time.time())
        token, until = self._tokens.get(origin, ("", 0))
        if until - _RENEW_S < now:
            until = now + _TOKEN_S
            token = self._key.token(origin, self._options.subject, until)
            self._tokens[origin] = token, until
        return f"vapid t={token}, k={self._key.public}"


def encrypt(
    text: bytes,
    p256dh: bytes,
    auth: bytes,
    *,
    salt: bytes | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """``text`` for the browser with these keys, as one record of ``aes128gcm`` (RFC 8291, 3.4, and RFC 8188, 2).

    ``salt`` and ``key`` are new ones unless a test gives them. Raises ValueError when ``text`` is too long or
    ``p256dh`` no point of P-256.
    """
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"a push message has at most {LARGEST_TEXT} bytes")
    salt = salt or os.urandom(16)
    key = key or ec.generate_private_key(ec.SECP256R1())
    browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    own = _point(key.public_key())
    shared = _derive(key.exchange(ec.ECDH(), browser), auth, b"WebPush: info\0" + p256dh + own, 32)
    content_key = _derive(shared, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(shared, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + _RECORD_SIZE.to_bytes(4, "big") + bytes([len(own)]) + own
    return header + AESGCM(content_key).encrypt(nonce, text + b"\x02", None)  # 2: the last record


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The reverse; raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
