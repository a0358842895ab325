# SPDX-License-Identifier: Apache-2.0
"""Password file and access control list for a mosquitto of the city, kept in step with the device registry."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.embedded import mqtt_access
from api.embedded.mosquitto_files import HUB_USER, MqttCredential, access_file, password_file
from api.embedded.passwords import hash_password, password_matches
from api.embedded.state import write_file
from api.settings import Settings
from broker.errors import MinamoError, StoreUnavailable
from context_store.caches import CHANNEL
from context_store.database import Database
from context_store.devices.registry import DeviceStore
from context_store.listener import Listener

_LOOK_S: Final = 60.0  # between two looks without a hint
PASSWORDS: Final = "passwords"
ACCESS: Final = "access"


class MqttFilesFailed(MinamoError):
    """The files cannot be written, or the broker cannot be told of them."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the files go, whose they are (None: the caller's), and whom to tell: the process in this file."""

    folder: Path
    owner: str | None = None
    pid_file: Path | None = None


def write_files(target: Target, hub_password: str, devices: Sequence[MqttCredential]) -> bool:
    """Write what differs, in one step each; whether anything did. Raises :class:`MqttFilesFailed`."""
    passwords = target.folder / PASSWORDS
    texts = {
        passwords: password_file(_hub_hash(_read(passwords), hub_password), devices),
        target.folder / ACCESS: access_file(devices),
    }
    changed = {path: text for path, text in texts.items() if _read(path) != text}
    try:
        owner = _numbers(target.owner)
        for path, text in changed.items():
            write_file(path, text.encode(), 0o600, owner)
    except (OSError, KeyError) as exc:
        raise MqttFilesFailed(f"{target.folder}: {exc}") from exc
    return bool(changed)


def _hub_hash(present: str, password: str) -> str:
    """The present hash while it is that of ``password``: with a new salt the file would differ each time."""
    for line in present.splitlines():
        name, _, password_hash = line.partition(":")
        if name == HUB_USER and password_matches(password, password_hash):
            return password_hash
    return hash_password(password)


def _numbers(owner: str | None) -> tuple[int, int] | None:
    if owner is None:
        return None
    found = pwd.getpwnam(owner)
    return found.pw_uid, found.pw_gid


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def tell_broker(pid_file: Path) -> None:
    """Have the broker read its files again (SIGHUP). Raises :class:`MqttFilesFailed`."""
    try:
        os.kill(int(pid_file.read_text(encoding="ascii").strip()), signal.SIGHUP)
    except (OSError, ValueError) as exc:
        raise MqttFilesFailed(f"mosquitto cannot be told by {pid_file}: {exc}") from exc


def hub_password(settings: Settings) -> str:
    """The hub's own password at the broker. Raises :class:`MqttFilesFailed`."""
    access = mqtt_access(settings.mqtt_url.get_secret_value()) if settings.mqtt_url else None
    if access is None or not access.password or access.username != HUB_USER:
        raise MqttFilesFailed(
            f"MINAMO_MQTT_URL has to name the hub's user and its password: mqtts://{HUB_USER}:...@host"
        )
    return access.password


async def keep_files(
    database: Database, target: Target, password: str, *, watch: bool, progress: Callable[[str], None]
) -> None:
    """Write the files; with ``watch`` again whenever the registry changes, until cancelled."""
    store, changed = DeviceStore(database), asyncio.Event()
    listener = asyncio.create_task(Listener(database, {CHANNEL: changed.set}).run()) if watch else None
    try:
        while True:
            changed.clear()
            try:
                await _write_once(store, target, password, progress)
            except StoreUnavailable as exc:
                if not watch:
                    raise
                progress(f"the database is away / データベースに接続できません: {exc}")
            if not watch:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await changed.wait()
    finally:
        if listener is not None:
            listener.cancel()


async def _write_once(store: DeviceStore, target: Target, password: str, progress: Callable[[str], None]) -> None:
    devices = [
        MqttCredential(found.key, found.password_hash, found.address)
        for found in await store.credentials()
        if found.key != HUB_USER
    ]
    if await asyncio.to_thread(write_files, target, password, devices):
        if target.pid_file is not None:
            tell_broker(target.pid_file)
        progress(f"{len(devices)} devices / {len(devices)} 台: {target.folder}")
