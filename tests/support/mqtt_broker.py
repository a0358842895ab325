# SPDX-License-Identifier: Apache-2.0
"""A private MQTT broker for a test: the embedded mosquitto, with credentials for the hub and for devices."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.embedded import mqtt_probe
from api.embedded.mosquitto import EmbeddedMosquitto, MosquittoLimits, MqttAccess
from api.embedded.mosquitto_files import MqttCredential
from api.embedded.passwords import hash_password, new_password
from api.embedded.state import DataFolder

from .folders import free_port, temporary_folder
from .waiting import eventually


class Broker:
    """A running mosquitto. It is supervised while the test's event loop runs: killed, it comes again."""

    def __init__(self, server: EmbeddedMosquitto) -> None:
        self.server = server
        self._devices: dict[str, MqttAccess] = {}
        self._credentials: list[MqttCredential] = []

    @property
    def hub(self) -> MqttAccess:
        """Access of the hub: reads and writes ``minamo/v1/#``."""
        return self.server.access

    async def device(self, username: str) -> MqttAccess:
        """Access of a device, made when it is asked for the first time; the broker knows it on return."""
        if username not in self._devices:
            password = new_password()
            self._credentials.append(MqttCredential(username, hash_password(password)))
            await self.server.sync_credentials(self._credentials)
            access = MqttAccess(self.hub.host, self.hub.port, username, password)
            await eventually(lambda: mqtt_probe.accepts(access.host, access.port, username, password))
            self._devices[username] = access
        return self._devices[username]

    @property
    def restarts(self) -> int:
        """How often it was started again and answers."""
        return self.server.supervisor.restarts

    def kill(self) -> None:
        """SIGKILL; the supervisor starts it again."""
        pid = self.server.supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    async def restart(self) -> None:
        """Have it stop as for an update, which writes what it holds, and wait until it is there again."""
        restarts = self.restarts
        assert self.server.supervisor.send_signal(signal.SIGTERM)
        await eventually(lambda: self.restarts > restarts, 30)


@asynccontextmanager
async def running_broker(limits: MosquittoLimits | None = None) -> AsyncIterator[Broker]:
    """A mosquitto in a temporary folder on a free port; nothing of it is left afterwards."""
    with temporary_folder() as path:
        folder = DataFolder(path)
        folder.open()
        with folder.locked():
            server = EmbeddedMosquitto(folder, port=free_port(), limits=limits)
            await server.start()
            try:
                yield Broker(server)
            finally:
                await server.stop()
