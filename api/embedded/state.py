# SPDX-License-Identifier: Apache-2.0
"""The data folder: what is in it, who holds it, what it remembers, and how it is removed.

::

    minamo.json    marks the folder as ours; remembers the MQTT port and whether the cluster has TimescaleDB
    hub.lock       locked by the running hub
    secrets.json   generated credentials, readable by the hub's user only
    postgres/      data/ (the cluster) and socket/
    mosquitto/     config/ (configuration, password and ACL file) and data/ (its persistence)
    logs/          what the servers write
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from api.embedded.texts import DataFolderInUse, DataFolderUnusable, Text

FORMAT: Final = 1
MARKER: Final = "minamo.json"
LOCK: Final = "hub.lock"
SECRETS: Final = "secrets.json"
PARTS: Final = ("postgres", "mosquitto", "logs", SECRETS, LOCK, MARKER)  # the marker last: see remove_contents


class DataFolder:
    """One data folder. :meth:`open` makes it; the paths are valid afterwards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.postgres = path / "postgres"
        self.mosquitto = path / "mosquitto"
        self.logs = path / "logs"

    def open(self) -> None:
        """Make the folder and its marker if they are not there. Raises DataFolderUnusable."""
        try:
            # Servers run as other users and have to pass through; what is private below has its own mode.
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o750, exist_ok=True)
            if not (self.path / MARKER).exists():
                self._write(MARKER, {"format": FORMAT}, 0o644)
            found = self.recall().get("format")
        except (OSError, ValueError) as error:
            raise DataFolderUnusable(
                Text(f"{self.path} を使えません: {error}", f"{self.path} cannot be used: {error}")
            ) from error
        if found != FORMAT:
            raise DataFolderUnusable(
                Text(
                    f"{self.path} は別の版の Minamo のものです（形式 {found}）。",
                    f"{self.path} belongs to another version of Minamo (format {found}).",
                )
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this hub. The lock ends with the process, however that ends.

        Raises DataFolderInUse.
        """
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                raise DataFolderInUse(
                    Text(
                        f"{self.path} では別の Minamo が動いています（プロセス {holder}）。",
                        f"Another Minamo is running with {self.path} (process {holder}).",
                    )
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def recall(self) -> dict[str, Any]:
        """What the folder remembers."""
        content = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}

    def remember(self, **facts: Any) -> None:
        """Add to what the folder remembers."""
        self._write(MARKER, {**self.recall(), **facts}, 0o644)

    def secret(self, name: str) -> str:
        """A generated secret (256 bits); the same at each start."""
        path = self.path / SECRETS
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if name not in known:
            known[name] = secrets.token_urlsafe(32)
            self._write(SECRETS, known, 0o600)
        return known[name]

    def _write(self, name: str, content: dict[str, Any], mode: int) -> None:
        write_file(self.path / name, json.dumps(content, indent=2).encode() + b"\n", mode)

    def remove_contents(self) -> None:
        """Remove what Minamo keeps here, and the folder if nothing else is in it. The caller holds the lock.

        Only the parts listed above are touched, so a folder that was chosen by mistake loses nothing of its own.
        The marker goes last: a removal that was interrupted can be repeated.
        """
        for part in PARTS:
            path = self.path / part
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    @property
    def is_ours(self) -> bool:
        """Whether the marker is there."""
        return (self.path / MARKER).is_file()


def write_file(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file in one step: readers see the old or the new content, whatever dies in between."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
