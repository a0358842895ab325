# SPDX-License-Identifier: Apache-2.0
"""Password hashes in mosquitto's format: ``$7$<iterations>$<salt>$<hash>``, PBKDF2 with SHA-512, base64.

101 iterations are what mosquitto's own tool uses. That is little for a password that a person thought of; ours are
random (256 bits), and mosquitto has one thread, which a city's sensors must not block when all connect again at once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

ITERATIONS: Final = 101
SALT_BYTES: Final = 12  # mosquitto 2.0 takes no other length
_HASH_BYTES: Final = 64


def new_password() -> str:
    """A random password for a device (256 bits, letters, digits, ``-`` and ``_``)."""
    return secrets.token_urlsafe(32)


def hash_password(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """The line that mosquitto keeps for a password."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    digest = _derive(password, salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def password_matches(password: str, password_hash: str) -> bool:
    """Whether ``password`` is the one that was hashed; False for a hash of another format."""
    try:
        empty, kind, iterations, salt, digest = password_hash.split("$")
        expected = base64.b64decode(digest, validate=True)
        actual = _derive(password, base64.b64decode(salt, validate=True), int(iterations))
    except ValueError:
        return False
    return (empty, kind) == ("", "7") and hmac.compare_digest(actual, expected)


def _derive(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, _HASH_BYTES)
