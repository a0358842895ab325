# SPDX-License-Identifier: Apache-2.0
"""Where the hub connects to when somebody else names the address: not into its own network (SSRF).

A host name is resolved before each connection and the connection goes to the address that was checked, so that a
name that changes its mind between check and use gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit


class ForbiddenDestination(Exception):
    """The address is not one the hub sends to."""


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The numeric ``address``; an IPv4 address that is mapped into IPv6 as what it is."""
    parsed = ipaddress.ip_address(address.partition("%")[0])  # without the zone of a link-local address
    return getattr(parsed, "ipv4_mapped", None) or parsed


def is_private(address: str) -> bool:
    """Whether ``address`` (numeric) is none of the public internet: loopback, private, link-local, reserved."""
    return not _parsed(address).is_global


def is_loopback(address: str) -> bool:
    """Whether ``address`` (numeric) is this machine itself; the unspecified address is, for a client."""
    parsed = _parsed(address)
    return parsed.is_loopback or parsed.is_unspecified


@lru_cache(maxsize=1024)
def _is_numeric(host: str) -> bool:
    """Whether ``host`` is an address already, in the one way that nobody can read otherwise."""
    try:
        return str(ipaddress.ip_address(host)) == host
    except ValueError:
        return False


def check_url(url: str) -> None:
    """Raise :class:`ForbiddenDestination` unless ``url`` is an absolute http or https URL without credentials."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ForbiddenDestination(f"{url} is not an absolute http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenDestination("credentials do not belong into the URL of a destination")


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Which addresses may be connected to.

    Loopback is a permission of its own: what listens there often trusts whoever can reach it.
    """

    allow_private: bool
    allow_loopback: bool

    async def resolve(self, host: str, port: int) -> str:
        """A numeric address of ``host``; raises :class:`ForbiddenDestination` when any of its addresses is not allowed
        and :class:`OSError` when it has none.
        """
        if _is_numeric(host):
            self.check(host, host)
            return host
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            self.check(host, address)
        return addresses[0]

    def check(self, host: str, address: str) -> None:
        """Raise :class:`ForbiddenDestination` unless ``address`` (numeric), which ``host`` has, is allowed."""
        if is_loopback(address):
            if not self.allow_loopback:
                raise ForbiddenDestination(f"{host} is {address}, the hub's own machine")
        elif is_private(address) and not self.allow_private:
            raise ForbiddenDestination(
                f"{host} is {address}, an address of a private network; the setting allow_private_endpoints permits it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where the hub connects to when somebody else names the address, and whose certificates it believes there.

    ``ca_file`` has authorities (PEM) to believe besides the well-known ones.
    """

    allow_private: bool = False
    allow_loopback: bool = False
    ca_file: Path | None = None

    @property
    def guard(self) -> AddressGuard:
        """What checks the addresses."""
        return AddressGuard(self.allow_private, self.allow_loopback)
