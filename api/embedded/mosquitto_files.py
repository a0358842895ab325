# SPDX-License-Identifier: Apache-2.0
"""What mosquitto reads: configuration, password file, access control list. Pure text, no files.

Topics (see the guide for device makers): a device publishes to ``minamo/v1/<its user name>/readings`` and may read
what is below ``minamo/v1/<its user name>/``. The hub reads and writes all of ``minamo/v1/``. The topics of FIWARE, The
Things Stack and ChirpStack are open to a device where they name it, and to the hub for reading. They name it by its
user name, or by its address where the registration has one; that no two are named alike is the registry's care.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ingest.topics import OWN_TOPICS, TOPIC_FILTERS

HUB_USER: Final = "minamo-hub"
# Past this the broker refuses a packet itself; below, the hub quarantines what is larger than max_payload_bytes.
MAX_PACKET_BYTES: Final = 1_114_112  # 1 MiB of payload and 64 KiB for topic and properties

# A ':' ends the name in the password file; '/', '+' and '#' would change the meaning of the topics above.
_USERNAME = re.compile(r"[^:/+#\s\x00-\x1f\x7f$]{1,128}")
_ADDRESS = re.compile(r"(?:[^/+#\s\x00-\x1f\x7f$]+/)?[^/+#\s\x00-\x1f\x7f$]+")
_HASH = re.compile(r"\$7\$\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+")

_FOREIGN: Final = [known for known in TOPIC_FILTERS if known != OWN_TOPICS]


def _of_the_device(topic_filter: str, name: str = "%u", api_key: str = "+") -> str:
    """The filter with the device's name where the device stands: after the API key, or behind ``device(s)/``."""
    if "device" in topic_filter:
        return re.sub(r"(devices?)/\+", rf"\1/{name}", topic_filter)
    return topic_filter.replace("+/+", f"{api_key}/{name}", 1)


_SHARED_RULES: Final = f"""\
user {HUB_USER}
topic readwrite minamo/v1/#
topic read $SYS/#
{"".join(f"topic read {known}{chr(10)}" for known in _FOREIGN)}
pattern write minamo/v1/%u/readings
pattern read minamo/v1/%u/#
{"".join(f"pattern write {_of_the_device(known)}{chr(10)}" for known in _FOREIGN)}
pattern read /+/%u/cmd
pattern read /ul/+/%u/cmd
pattern read /json/+/%u/cmd
pattern read ul/+/%u/cmd
pattern read json/+/%u/cmd
"""
_ADDRESS_LINE: Final = "# address "


@dataclass(frozen=True, slots=True)
class MqttCredential:
    """A device's user name and the hash of its password (see :mod:`api.embedded.passwords`).

    ``address`` is its name in topics of others where that is not the user name, with the API key before it where it
    has one. One that cannot stand in a topic is left out.
    """

    username: str
    password_hash: str = field(repr=False)
    address: str | None = None

    def __post_init__(self) -> None:
        if not _USERNAME.fullmatch(self.username) or self.username == HUB_USER:
            raise ValueError(f"{self.username!r} cannot be the MQTT user name of a device")
        if not _HASH.fullmatch(self.password_hash):
            raise ValueError(f"the password hash of {self.username!r} has not the form $7$iterations$salt$hash")
        if self.address is not None and not _ADDRESS.fullmatch(self.address):
            object.__setattr__(self, "address", None)


def access_file(devices: Iterable[MqttCredential]) -> str:
    """The access control list: rules that hold for all, and those of devices that have another name in topics."""
    with_address = sorted((device.username, device.address) for device in devices if device.address is not None)
    return "# Written by Minamo.\n" + _SHARED_RULES + "".join(_own_rules(*pair) for pair in with_address)


def _own_rules(username: str, address: str) -> str:
    api_key, _, name = address.rpartition("/")
    topics = [_of_the_device(known, name, api_key or "+") for known in _FOREIGN if not (api_key and "device" in known)]
    lines = [f"{_ADDRESS_LINE}{username} {address}", f"user {username}", *(f"topic write {topic}" for topic in topics)]
    return "\n".join(lines) + "\n"


def addresses_in(text: str) -> dict[str, str]:
    """The addresses by user name in an access control list of ours."""
    pairs = (
        line.removeprefix(_ADDRESS_LINE).split(" ") for line in text.splitlines() if line.startswith(_ADDRESS_LINE)
    )
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def password_file(hub_password_hash: str, devices: Iterable[MqttCredential]) -> str:
    """The password file: the hub first, then the devices by name. A name given twice: the last one holds."""
    known: Mapping[str, str] = {device.username: device.password_hash for device in devices}
    lines = [f"{HUB_USER}:{hub_password_hash}", *(f"{name}:{known[name]}" for name in sorted(known))]
    return "\n".join(lines) + "\n"


def devices_in(text: str, access: str = "") -> list[MqttCredential]:
    """The devices of a password file and an access control list; lines that are not ours are left out."""
    addresses = addresses_in(access)
    found: list[MqttCredential] = []
    for line in text.splitlines():
        username, _, password_hash = line.partition(":")
        try:
            found.append(MqttCredential(username, password_hash, addresses.get(username)))
        except ValueError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class TlsListener:
    """Where the broker listens with TLS, and the files (PEM) of its certificate, chain included, and its key."""

    host: str
    port: int
    certificate: Path
    key: Path


def tls_lines(tls: TlsListener) -> list[str]:
    """The lines of a listener with TLS 1.2 and newer."""
    return [
        f"listener {tls.port} {tls.host}",
        f"certfile {tls.certificate}",
        f"keyfile {tls.key}",
    ]


def configuration(
    *,
    host: str,
    port: int,
    config_folder: Path,
    data_folder: Path,
    receive_maximum: int,
    max_queued_messages: int,
    autosave_interval_s: int,
    tls: TlsListener | None = None,
) -> str:
    """The text of ``mosquitto.conf``."""
    lines = [
        "# Written by Minamo at each start.",
        "per_listener_settings false",
        f"listener {port} {host}",
        *(() if tls is None else tls_lines(tls)),
        "allow_anonymous false",
        f"password_file {config_folder / 'passwords'}",
        f"acl_file {config_folder / 'access'}",
        # What the broker accepted while the hub was away outlives a restart of the broker. It is held in memory and
        # written in this interval and at a clean stop.
        "persistence true",
        f"persistence_location {data_folder}/",
        f"autosave_interval {autosave_interval_s}",
        f"max_inflight_messages {receive_maximum}",
        f"max_queued_messages {max_queued_messages}",
        "max_queued_bytes 0",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages true",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ]
    return "\n".join(lines) + "\n"
