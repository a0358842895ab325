# SPDX-License-Identifier: Apache-2.0
"""A process that starts the embedded servers, says where they are, and waits: something for tests to kill.

``python -m tests.support.hub_child DATA_FOLDER MQTT_PORT``, run in the project folder, prints one JSON line when all
is up and stops cleanly on SIGINT.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from api.embedded import EmbeddedHub
from api.logs import configure_logging
from api.settings import Settings


async def main() -> None:
    """Start, tell, wait for SIGINT, stop."""
    configure_logging()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    settings = Settings(data_dir=Path(sys.argv[1]), mqtt_port=int(sys.argv[2]))
    async with EmbeddedHub(settings) as services:
        assert services.postgres is not None
        assert services.mosquitto is not None
        told = {
            "database_url": services.database_url,
            "postgres": services.postgres.supervisor.pid,
            "mosquitto": services.mosquitto.supervisor.pid,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await stop.wait()


asyncio.run(main())
