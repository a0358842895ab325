# SPDX-License-Identifier: Apache-2.0
"""Playing the records of drills that run, in any worker process; a drill is moved by one of them at a time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from api.alerting.drills import advance_drills
from api.hub import Hub
from broker.errors import StoreUnavailable

log = structlog.get_logger(__name__)

_EVERY_S: Final = 0.5
_PAUSE_AFTER_ERROR_S: Final = 5.0


async def run_drills(hub: Hub) -> None:
    """Move drills on until cancelled. What fails is tried again; it concerns nothing but the drill."""
    while True:
        pause = _EVERY_S
        try:
            await advance_drills(hub, datetime.now(UTC))
        except StoreUnavailable:
            pass
        except Exception:
            log.exception("drills.failed")
            pause = _PAUSE_AFTER_ERROR_S
        await asyncio.sleep(pause)
