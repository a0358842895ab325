# SPDX-License-Identifier: Apache-2.0
"""Which system user an embedded server runs as.

PostgreSQL refuses to run as root, and nothing that listens should. So when the hub is root its servers run as users
without rights: the ones their Debian packages bring (``postgres``, ``mosquitto``), else ``minamo``, which is made.
When the hub is not root they run as the same user as the hub.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.embedded.texts import DataFolderUnusable, StartFailed, Text

FALLBACK_USER: Final = "minamo"


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A user to become: name, numeric ids, and whether that takes a change at all."""

    name: str
    uid: int
    gid: int

    @property
    def is_current(self) -> bool:
        """Whether the hub itself runs as this user."""
        return self.uid == os.geteuid()

    def own(self, path: Path, mode: int) -> None:
        """Give an existing folder or file to this user. ``path`` must lie in a folder that only the hub writes."""
        if not self.is_current:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        path.chmod(mode)


def current_user() -> SystemUser:
    """The user of this process."""
    entry = pwd.getpwuid(os.geteuid())
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def server_user(*preferred: str) -> SystemUser:
    """The user for a server: ourselves, or as root the first of ``preferred`` that exists, else ``minamo``."""
    if os.geteuid() != 0:
        return current_user()
    for name in (*preferred, FALLBACK_USER):
        found = _lookup(name)
        if found is not None and found.uid != 0:
            return found
    return _create(FALLBACK_USER)


def _lookup(name: str) -> SystemUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create(name: str) -> SystemUser:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    found = _lookup(name)
    if found is None:
        reason = made.stderr.strip()
        raise StartFailed(
            Text(f"システムユーザー {name} を作れません: {reason}", f"cannot make the system user {name}: {reason}")
        )
    return found


def check_reachable(folder: Path, user: SystemUser) -> None:
    """Raise DataFolderUnusable unless ``user`` may pass through every folder above ``folder``.

    A data folder below /root, for instance, can be written by the hub and not be reached by PostgreSQL.
    """
    if user.is_current:
        return
    groups = set(os.getgrouplist(user.name, user.gid))
    for parent in folder.resolve().parents:
        status = parent.stat()
        if status.st_uid == user.uid:
            allowed = status.st_mode & 0o100
        elif status.st_gid in groups:
            allowed = status.st_mode & 0o010
        else:
            allowed = status.st_mode & 0o001
        if not allowed:
            raise DataFolderUnusable(
                Text(
                    f"ユーザー {user.name} は {parent} に入れません。MINAMO_DATA_DIR に別の場所を指定してください。",
                    f"The user {user.name} may not enter {parent}: choose another place with MINAMO_DATA_DIR.",
                )
            )
