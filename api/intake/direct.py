# SPDX-License-Identifier: Apache-2.0
"""Readings that come by HTTP: the same decoder, store and quarantine as for MQTT, one commit for each message."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from api.embedded.passwords import hash_password, password_matches
from api.hub import Hub
from api.intake.ingest_parts import make_decoder, make_state_keeper
from broker.devices.model import Device
from broker.intake.readings import Observation, Quarantined, UnstorableBatch
from context_store.intake.commits import PostgresReadingStore
from ingest.decode import Message
from ingest.pipeline import refused

_NOBODY: Final = hash_password("nobody", salt=b"twelve bytes")  # so that unknown names take as long as known ones


class DirectReadings:
    """Takes messages of devices that have no MQTT."""

    def __init__(self, hub: Hub) -> None:
        self._decoder = make_decoder(hub.settings)
        self._device_state = make_state_keeper(hub.settings)
        self._store = PostgresReadingStore(hub.database, hub.terms, hub.history)
        self._devices = hub.devices

    async def device(self, key: str, authorization: str) -> Device | None:
        """The device with ``key`` when ``authorization`` (HTTP Basic: key, password) is its own."""
        username, password = basic_credentials(authorization)
        found = await self._devices.by_key(key)
        matches = password_matches(password, (found and found.password_hash) or _NOBODY)
        return found if matches and username == key else None

    async def take(self, message: Message, device: Device) -> Quarantined | None:
        """Store ``message`` durably; what is wrong with it when it went to quarantine.

        Raises :class:`~broker.errors.StoreUnavailable`: nothing was stored.
        """
        observations, fault = self._decoder.decode(message, lambda _: device, self._device_state.wants)
        observations = self._device_state.kept(observations, message.received_at)
        try:
            await self._commit(observations, fault)
        except UnstorableBatch as exc:
            fault = refused(message, observations, exc)
            await self._commit([], fault)
        return fault

    async def set_aside(self, fault: Quarantined) -> None:
        """Keep what cannot be taken. Raises :class:`~broker.errors.StoreUnavailable`."""
        await self._store.commit([], [fault])

    async def _commit(self, observations: list[Observation], fault: Quarantined | None) -> None:
        await self._store.commit(observations, [fault] if fault else [])


def basic_credentials(authorization: str) -> tuple[str, str]:
    """User name and password of an ``Authorization`` header (RFC 7617); empty texts when it holds none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        username, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        return "", ""
    return username, password
