# SPDX-License-Identifier: Apache-2.0
"""Whose certificates are believed when the hub connects to others by TLS.

Always the well-known authorities of the system (MQTT) or of certifi (HTTP), as their libraries do; besides those the
city's own, from a file, because a closed network has no well-known ones.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx


class UnusableAuthorities(ValueError):
    """The file with certificate authorities cannot be used."""


def trust_also(context: ssl.SSLContext, ca_file: Path | None) -> ssl.SSLContext:
    """``context``, which believes the authorities in ``ca_file`` (PEM) too; raises :class:`UnusableAuthorities`."""
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise UnusableAuthorities(f"{ca_file} has no certificate authorities in PEM: {exc}") from exc
    return context


def http_context(ca_file: Path | None) -> ssl.SSLContext:
    """For connections by HTTPS."""
    return trust_also(httpx.create_ssl_context(trust_env=False), ca_file)


def mqtt_context(ca_file: Path | None) -> ssl.SSLContext:
    """For connections by MQTT over TLS."""
    return trust_also(ssl.create_default_context(), ca_file)
