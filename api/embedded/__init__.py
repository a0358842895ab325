# SPDX-License-Identifier: Apache-2.0
"""The embedded default: PostgreSQL and mosquitto as supervised children of the hub.

::

    async with EmbeddedHub(settings, progress=show) as services:
        services.database_url, services.mqtt
        await services.sync_credentials(devices)

A server that the settings name (``database_url``, ``mqtt_url``) is used as it is and not started. Enter it in the
main thread (see :mod:`api.embedded.supervisor`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import unquote, urlsplit

from api.embedded.mosquitto import EmbeddedMosquitto, MosquittoLimits, MqttAccess
from api.embedded.mosquitto_files import MqttCredential, TlsListener
from api.embedded.passwords import hash_password, new_password
from api.embedded.postgres import EmbeddedPostgres
from api.embedded.state import DataFolder
from api.embedded.supervisor import ChildState
from api.embedded.texts import DataFolderUnusable, EmbeddedError, Progress, Text
from api.settings import Settings

__all__ = [
    "ChildState",
    "EmbeddedError",
    "EmbeddedHub",
    "MqttAccess",
    "MqttCredential",
    "Services",
    "Text",
    "hash_password",
    "mqtt_access",
    "new_password",
    "reset_data_folder",
]

MQTT_PORT = 1883
MQTTS_PORT = 8883


@dataclass(frozen=True, slots=True)
class Services:
    """Where database and MQTT broker are, and what can be told to the embedded ones."""

    database_url: str
    mqtt: MqttAccess
    postgres: EmbeddedPostgres | None
    mosquitto: EmbeddedMosquitto | None

    async def sync_credentials(self, devices: Iterable[MqttCredential]) -> bool:
        """Let exactly these devices connect to the embedded broker; True when that changed something.

        With a broker of the city nothing is done: its users are kept there.
        """
        return await self.mosquitto.sync_credentials(devices) if self.mosquitto is not None else False

    async def renew_mqtt_certificate(self) -> None:
        """Have the embedded broker take in a certificate that was renewed."""
        if self.mosquitto is not None:
            await self.mosquitto.renew_certificate()

    def save_mqtt_state(self) -> None:
        """Have the embedded broker write sessions and queues to disk now, for instance after the hub subscribed."""
        if self.mosquitto is not None:
            self.mosquitto.save()

    def states(self) -> dict[str, ChildState]:
        """The state of each embedded server by name."""
        servers = (self.postgres, self.mosquitto)
        return {server.name: server.supervisor.state for server in servers if server is not None}


class EmbeddedHub:
    """Starts what the settings do not name, stops it at the end. Raises EmbeddedError, with nothing left running."""

    def __init__(self, settings: Settings, *, progress: Progress = lambda _text: None) -> None:
        self._settings = settings
        self._progress = progress
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Services:
        settings = self._settings
        postgres: EmbeddedPostgres | None = None
        mosquitto: EmbeddedMosquitto | None = None
        async with AsyncExitStack() as stack:
            folder = DataFolder(settings.data_dir)
            if settings.database_url is None or settings.mqtt_url is None:
                folder.open()
                stack.enter_context(folder.locked())
            if settings.database_url is None:
                postgres = await self._start_postgres(folder, stack)
                database_url = postgres.database_url
            else:
                database_url = settings.database_url.get_secret_value()
            if settings.mqtt_url is None:
                mosquitto = await self._start_mosquitto(folder, stack)
                mqtt = mosquitto.access
            else:
                mqtt = mqtt_access(settings.mqtt_url.get_secret_value())
            self._stack = stack.pop_all()
        return Services(database_url, mqtt, postgres, mosquitto)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _start_postgres(self, folder: DataFolder, stack: AsyncExitStack) -> EmbeddedPostgres:
        server = EmbeddedPostgres(
            folder,
            timescaledb=self._settings.timescaledb,
            shared_buffers_mb=self._settings.postgres_shared_buffers_mb,
            progress=self._progress,
        )
        stack.push_async_callback(server.stop)
        await server.start()
        return server

    async def _start_mosquitto(self, folder: DataFolder, stack: AsyncExitStack) -> EmbeddedMosquitto:
        settings = self._settings
        server = EmbeddedMosquitto(
            folder,
            host=settings.mqtt_host,
            port=settings.mqtt_port,
            limits=MosquittoLimits(
                receive_maximum=settings.mqtt_receive_maximum,
                max_queued_messages=settings.mqtt_max_queued_messages,
                autosave_interval_s=settings.mqtt_autosave_interval_s,
            ),
            tls=tls_listener(settings),
            progress=self._progress,
        )
        stack.push_async_callback(server.stop)
        await server.start()
        return server


def tls_listener(settings: Settings) -> TlsListener | None:
    """Where the embedded broker is to listen with TLS; None without a certificate."""
    if settings.mqtt_tls_certificate is None or settings.mqtt_tls_key is None:
        return None
    return TlsListener(
        settings.mqtt_tls_host, settings.mqtt_tls_port, settings.mqtt_tls_certificate, settings.mqtt_tls_key
    )


def mqtt_access(url: str) -> MqttAccess:
    """The parts of ``mqtt://user:password@host:port`` or ``mqtts://...``."""
    parts = urlsplit(url)
    tls = parts.scheme == "mqtts"
    return MqttAccess(
        host=parts.hostname or "",
        port=parts.port or (MQTTS_PORT if tls else MQTT_PORT),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
    )


async def reset_data_folder(settings: Settings, *, progress: Progress = lambda _text: None) -> bool:
    """Remove all that the embedded hub keeps; False when there is nothing.

    Raises DataFolderUnusable when the folder is not Minamo's and DataFolderInUse while a hub runs with it.
    """
    folder = DataFolder(settings.data_dir)
    if not folder.path.exists():
        return False
    if not folder.is_ours:
        if not any(folder.path.iterdir()):
            return False
        raise DataFolderUnusable(
            Text(
                f"{folder.path} は Minamo のデータフォルダーではないので、削除しません。",
                f"{folder.path} is no data folder of Minamo: nothing is removed.",
            )
        )
    with folder.locked():
        progress(Text(f"{folder.path} を消去しています", f"Removing {folder.path}"))
        await EmbeddedPostgres(folder).end_left_overs()
        await EmbeddedMosquitto(folder).end_left_overs()
        folder.remove_contents()
    return True
