# SPDX-License-Identifier: Apache-2.0
"""A browser with its push service (RFC 8030): it checks who sends, and opens what it is sent, as a browser does."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters.channels.web_push import decode, encode
from support.receiver import Received

AUTH = b"sixteen bytes ok"


@dataclass
class PushBrowser:
    """A browser enrolled at ``service_url`` for the hub whose ``hub_key`` it was told."""

    service_url: str
    hub_key: str
    name: str = "one"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def path(self) -> str:
        return f"/push/{self.name}"

    def subscription(self) -> dict[str, Any]:
        """What ``PushSubscription.toJSON()`` gives."""
        keys = {"p256dh": encode(_point(self.key)), "auth": encode(AUTH)}
        return {"endpoint": self.service_url + self.path, "expirationTime": None, "keys": keys}

    def open(self, request: Received) -> dict[str, Any]:
        """The message of a request; fails when it is not for this browser, not of the hub, or not as it has to be."""
        assert (request.method, request.path) == ("POST", self.path)
        assert request.headers["content-encoding"] == "aes128gcm" and int(request.headers["ttl"]) > 0
        assert request.headers["urgency"] in ("very-low", "low", "normal", "high")
        assert len(request.headers.get("topic", "")) <= 32 and len(request.body) <= 4096
        self.check_sender(request.headers["authorization"])
        message: dict[str, Any] = json.loads(self.decrypt(request.body))
        return message

    def check_sender(self, authorization: str) -> dict[str, Any]:
        """What the token says (RFC 8292): signed by the key that the browser was enrolled for, and for this service."""
        scheme, _, rest = authorization.partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert scheme == "vapid" and parts["k"] == self.hub_key
        head, claims, signature = parts["t"].split(".")
        raw = decode(signature)
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(parts["k"]))
        public.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        assert json.loads(decode(head)) == {"typ": "JWT", "alg": "ES256"}
        said: dict[str, Any] = json.loads(decode(claims))
        assert said["aud"] == self.service_url and time.time() < said["exp"] <= time.time() + 86_400
        return said

    def decrypt(self, body: bytes) -> bytes:
        """RFC 8188, 2.1 and RFC 8291, 3.4, the other way round and from the formulas of the RFC."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender = body[21 : 21 + length]
        sealed = body[21 + length :]
        assert len(sealed) <= size
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        ikm = _hmac(_hmac(AUTH, shared), b"WebPush: info\0" + _point(self.key) + sender + b"\x01")
        prk = _hmac(salt, ikm)
        content_key = _hmac(prk, b"Content-Encoding: aes128gcm\0\x01")[:16]
        nonce = _hmac(prk, b"Content-Encoding: nonce\0\x01")[:12]
        text = AESGCM(content_key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert text.endswith(b"\x02")
        return text[:-1]


def _hmac(key: bytes, data: bytes) -> bytes:
    code = hmac.HMAC(key, hashes.SHA256())
    code.update(data)
    return code.finalize()


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
