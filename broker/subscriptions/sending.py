# SPDX-License-Identifier: Apache-2.0
"""How notifications of a subscription are sent (clauses 5.2.15, 5.2.22 and 7.2), and what of it is secret.

Secrets are written and never read again: the password in an MQTT URI, and the key that signs notifications. They are
taken out of the document before it is stored, stay as long as the endpoint stays the same, and are in no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from broker.document_members import Document
from broker.sealed import Stored
from broker.validation import fault

MQTT_SCHEMES: Final = frozenset({"mqtt", "mqtts"})
PULLED_URI: Final = "minamo:stream"  # the endpoint of a subscription whose receiver comes and asks
SECRET_KEY: Final = "Minamo-Secret"  # noqa: S105 - the name of a key in notifierInfo
_SECRET_CHARACTERS: Final = range(16, 257)
_VERSIONS: Final = ("mqtt5.0", "mqtt3.1.1")
_QOS: Final = ("0", "1", "2")
_INFO: Final = "notification.endpoint.notifierInfo"


@dataclass(frozen=True, slots=True)
class Sending:
    """How to send: ``password`` is that of the URI's user, ``secret`` signs; both are sealed unless they are about to.

    ``timeout_ms`` and ``cooldown_ms`` are those of the endpoint: how long to wait for an answer, and after a failure.
    """

    password: Stored | None = None
    secret: Stored | None = None
    qos: int = 1
    mqtt_version: str = _VERSIONS[0]
    timeout_ms: float | None = None
    cooldown_ms: float | None = None

    def to_stored(self) -> dict[str, Any] | None:
        """What differs from the defaults, as JSON; None when nothing does."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_DEFAULTS, name)} or None

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any] | None) -> Sending:
        """The reverse of :meth:`to_stored`."""
        return cls(**stored) if stored else _DEFAULTS


_DEFAULTS: Final = Sending()


def take_sending(document: Document, before: tuple[Document, Sending] | None = None) -> tuple[Document, Sending]:
    """``document`` without its secrets, and how its notifications are sent.

    ``before`` is what an update replaces: its secrets stay when the endpoint's URI does and no others are given.
    Raises :class:`BadRequestData` for what the binding does not know.
    """
    endpoint = document["notification"]["endpoint"]
    uri, password = _without_password(endpoint["uri"])
    info = {pair["key"]: pair["value"] for pair in endpoint.get("notifierInfo", ())}
    secret = info.pop(SECRET_KEY, None)
    kept = Sending()
    if before is not None and before[0]["notification"]["endpoint"]["uri"] == uri:
        kept = before[1]
    sending = replace(
        _of_binding(uri, info),
        password=password if password is not None else kept.password,
        secret=_secret(secret) if secret is not None else kept.secret,
        timeout_ms=endpoint.get("timeout"),
        cooldown_ms=endpoint.get("cooldown"),
    )
    if sending.secret is not None and sending.mqtt_version != _VERSIONS[0]:
        raise fault(_INFO, f"{SECRET_KEY} needs MQTT 5, whose user properties hold the signature")
    return _with_endpoint(document, {**endpoint, "uri": uri}), sending


def _with_endpoint(document: Document, endpoint: Document) -> Document:
    """``document`` with this endpoint, without the secret in its notifierInfo."""
    if "notifierInfo" in endpoint:
        endpoint["notifierInfo"] = [pair for pair in endpoint["notifierInfo"] if pair["key"] != SECRET_KEY]
        if not endpoint["notifierInfo"]:
            del endpoint["notifierInfo"]
    return {**document, "notification": {**document["notification"], "endpoint": endpoint}}


def _without_password(uri: str) -> tuple[str, str | None]:
    """An MQTT URI without its password, and the password; others stay as they are."""
    parts = urlsplit(uri)
    if parts.scheme.lower() not in MQTT_SCHEMES or parts.password is None:
        return uri, None
    credentials, _, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{host}")), unquote(parts.password)


def _of_binding(uri: str, info: Mapping[str, str]) -> Sending:
    """What ``notifierInfo`` says to the MQTT binding (clause 7.2); nothing to that of HTTP."""
    if urlsplit(uri).scheme.lower() not in MQTT_SCHEMES:
        return _DEFAULTS
    qos = info.get("MQTT-QoS", str(_DEFAULTS.qos))
    version = info.get("MQTT-Version", _DEFAULTS.mqtt_version)
    if qos not in _QOS:
        raise fault(_INFO, f"MQTT-QoS is {qos!r}; one of {', '.join(_QOS)} is expected")
    if version not in _VERSIONS:
        raise fault(_INFO, f"MQTT-Version is {version!r}; one of {', '.join(_VERSIONS)} is expected")
    return Sending(qos=int(qos), mqtt_version=version)


def _secret(value: str) -> str | None:
    """The key that signs; an empty one ends signing."""
    if not value:
        return None
    if len(value) not in _SECRET_CHARACTERS or not value.isascii() or not value.isprintable():
        raise fault(_INFO, f"{SECRET_KEY} has 16 to 256 printable ASCII characters")
    return value
