# SPDX-License-Identifier: Apache-2.0
"""What mosquitto reads: configuration, password file, access control list. Pure text, no files.

Topics (see the guide for device makers): a device publishes to ``minamo/v1/<its user name>/readings`` and may read
what is below ``minamo/v1/<its user name>/``. The hub reads and writes all of ``minamo/v1/``. The topics of FIWARE, The
Things Stack and ChirpStack are open to a device where they name it, and to the hub for reading.
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
_HASH = re.compile(r"\$7\$\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+")

_FOREIGN: Final = [known for known in TOPIC_FILTERS if known != OWN_TOPICS]


def _of_the_device(topic_filter: str) -> str:
    """The filter with the device's name where the device stands: after the API key, or behind ``device(s)/``."""
    if "device" in topic_filter:
        return re.sub(r"(devices?)/\+", r"\1/%u", topic_filter)
    return topic_filter.replace("+/+", "+/%u", 1)


ACCESS_CONTROL: Final = f"""\
# Written by Minamo.
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


@dataclass(frozen=True, slots=True)
class MqttCredential:
    """A device's user name and the hash of its password (see :mod:`api.embedded.passwords`)."""

    username: str
    password_hash: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _USERNAME.fullmatch(self.username) or self.username == HUB_USER:
            raise ValueError(f"{self.username!r} cannot be the MQTT user name of a device")
        if not _HASH.fullmatch(self.password_hash):
            raise ValueError(f"the password hash of {self.username!r} has not the form $7$iterations$salt$hash")


def password_file(hub_password_hash: str, devices: Iterable[MqttCredential]) -> str:
    """The password file: the hub first, then the devices by name. A name given twice: the last one holds."""
    known: Mapping[str, str] = {device.username: device.password_hash for device in devices}
    lines = [f"{HUB_USER}:{hub_password_hash}", *(f"{name}:{known[name]}" for name in sorted(known))]
    return "\n".join(lines) + "\n"


def devices_in(text: str) -> list[MqttCredential]:
    """The devices of a password file; lines that are not ours are left out."""
    found: list[MqttCredential] = []
    for line in text.splitlines():
        username, _, password_hash = line.partition(":")
        try:
            found.append(MqttCredential(username, password_hash))
        except ValueError:
            continue
    return found


def configuration(
    *,
    host: str,
    port: int,
    config_folder: Path,
    data_folder: Path,
    receive_maximum: int,
    max_queued_messages: int,
    autosave_interval_s: int,
) -> str:
    """The text of ``mosquitto.conf``."""
    lines = [
        "# Written by Minamo at each start.",
        "per_listener_settings false",
        f"listener {port} {host}",
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
