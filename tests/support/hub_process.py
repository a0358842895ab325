# SPDX-License-Identifier: Apache-2.0
"""The whole hub as a process of its own, as a person starts it: to be used, killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from .folders import free_port, temporary_folder

_READY_WITHIN_S = 60.0


class HubProcess:
    """``minamo up`` with its own data folder, ports and log."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.data = folder / "data"
        self.log = folder / "hub.log"
        self.http_port = free_port()
        self.mqtt_port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MINAMO_")},
            "MINAMO_DATA_DIR": str(self.data),
            "MINAMO_HTTP_PORT": str(self.http_port),
            "MINAMO_MQTT_PORT": str(self.mqtt_port),
            **{f"MINAMO_{name.upper()}": value for name, value in settings.items()},
        }
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.http_port}", timeout=30, trust_env=False)

    @property
    def url(self) -> str:
        """The address of the HTTP API."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        """The process of the hub itself."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api.cli", "up"], env=self._environment, stdout=log, stderr=log, cwd=self._folder
            )
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the hub ended with {self._process.returncode}:\n{self.tail()}")
            with contextlib.suppress(httpx.HTTPError):
                if self.http.get("/readyz", timeout=2).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"the hub is not ready after {_READY_WITHIN_S:g} s:\n{self.tail()}")

    def stop(self) -> int:
        """Stop it as Ctrl-C does; returns its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=40)

    def kill(self) -> None:
        """SIGKILL the hub itself; its children are left to themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)

    def kill_child(self, name: str) -> None:
        """SIGKILL the PostgreSQL or mosquitto of this hub, as soon as there is one (it may just be restarting)."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while True:
            with contextlib.suppress(AssertionError, ProcessLookupError):
                os.kill(self.child_pid(name), signal.SIGKILL)
                return
            assert time.monotonic() < deadline, f"no {name} comes up again\n{self.tail()}"
            time.sleep(0.05)

    def child_pid(self, name: str) -> int:
        """The process whose command line names this hub's data folder and ``name`` (postgres, mosquitto)."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if name.encode() in words[0] and any(str(self.data).encode() in word for word in words[1:]):
                        return int(entry.name)
        raise AssertionError(f"no {name} of {self.data} is running")

    def tail(self, characters: int = 4000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask its database directly, over all tenants."""
        socket = quote(str(self.data / "postgres" / "socket"), safe="")
        with psycopg.connect(f"postgresql://minamo@/minamo?host={socket}&port=5432", autocommit=True) as connection:
            connection.execute("set search_path = minamo, public")
            connection.execute("set minamo.tenant = '0'")
            return connection.execute(statement, parameters).fetchall()

    def put(self, path: str, document: dict[str, Any]) -> Any:
        """PUT a document; fails unless it is taken."""
        response = self.http.put(path, json=document)
        assert response.is_success, response.text
        return response.json()

    def close(self) -> None:
        """End everything that still runs."""
        if self._process is not None and self._process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        for name in ("postgres", "mosquitto"):
            with contextlib.suppress(AssertionError, ProcessLookupError):
                os.kill(self.child_pid(name), signal.SIGKILL)
        self.http.close()


@contextlib.contextmanager
def hub_process(**settings: str) -> Iterator[HubProcess]:
    """A started hub that leaves nothing behind."""
    with temporary_folder() as folder:
        hub = HubProcess(folder, **settings)
        try:
            hub.start()
            yield hub
        finally:
            hub.close()
