# SPDX-License-Identifier: Apache-2.0
"""The key that the hub is known by to browsers and push services: a setting, or one of its own in the database."""

from __future__ import annotations

from typing import Final

from adapters.channels.web_push import HubKey, WebPushOptions, decode
from api.settings import Settings
from context_store.database import Database
from context_store.sealing import Sealer
from context_store.secrets import shared_secret

_SECRET_NAME: Final = "web push key"  # noqa: S105 - the name of a secret


async def push_secret(settings: Settings, database: Database, sealer: Sealer) -> bytes:
    """The 32 bytes of the key, made when they are asked for the first time; they are never logged nor shown."""
    if settings.web_push_key is not None:
        return decode(settings.web_push_key.get_secret_value())
    return await shared_secret(database, _SECRET_NAME, sealer)


async def public_push_key(settings: Settings, database: Database, sealer: Sealer) -> str:
    """What browsers are enrolled for."""
    return HubKey(await push_secret(settings, database, sealer)).public


def push_options(settings: Settings, database: Database, sealer: Sealer) -> WebPushOptions:
    """Web Push as the settings want it."""

    async def secret() -> bytes:
        return await push_secret(settings, database, sealer)

    subject = settings.web_push_subject
    if not subject and settings.smtp_from:
        subject = "mailto:" + settings.smtp_from.rpartition("<")[2].strip("> ")
    return WebPushOptions(secret, subject or None, settings.web_push_ttl_s)
