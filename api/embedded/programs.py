# SPDX-License-Identifier: Apache-2.0
"""Where the programs of the embedded servers are. Debian and Ubuntu keep PostgreSQL's off the PATH, one folder a
major version, and mosquitto in /usr/sbin, which is not on every user's PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from api.embedded.texts import ProgramMissing, Text

MINIMUM_POSTGRES: Final = 14
MINIMUM_MOSQUITTO: Final = (2, 0)
_VERSIONED: Final = Path("/usr/lib/postgresql")
_SYSTEM_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/sbin")
_HELP: Final = "./run setup"


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """One installed PostgreSQL: folder of its programs, major version, what can be switched on."""

    folder: Path
    version: int
    has_postgis: bool
    has_timescaledb: bool
    has_lz4: bool

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a new cluster."""
        return self.folder / "initdb"


def find_postgres(version: int | None = None) -> PostgresPrograms:
    """The newest PostgreSQL that has PostGIS; with ``version``, the one of that major version.

    Raises ProgramMissing, which tells whether PostgreSQL or only PostGIS is missing.
    """
    found = [programs for folder in _candidate_folders() if (programs := _inspect(folder))]
    if version is not None:
        found = [programs for programs in found if programs.version == version]
        if not found:
            raise ProgramMissing(
                Text(
                    f"データは PostgreSQL {version} のものですが、そのプログラムがありません。postgresql-{version} と "
                    f"postgresql-{version}-postgis-3 を入れてください。",
                    f"The data folder was made by PostgreSQL {version}, whose programs are not installed: install "
                    f"postgresql-{version} and postgresql-{version}-postgis-3.",
                )
            )
    found = [programs for programs in found if programs.version >= MINIMUM_POSTGRES]
    if not found:
        raise ProgramMissing(
            Text(
                f"PostgreSQL {MINIMUM_POSTGRES} 以降がありません（{_HELP} で入ります）。",
                f"PostgreSQL {MINIMUM_POSTGRES} or newer is not installed ({_HELP} installs it).",
            )
        )
    with_postgis = [programs for programs in found if programs.has_postgis]
    if not with_postgis:
        raise ProgramMissing(
            Text(f"PostGIS がありません（{_HELP} で入ります）。", f"PostGIS is not installed ({_HELP} installs it).")
        )
    return max(with_postgis, key=lambda programs: programs.version)


def find_mosquitto() -> Path:
    """The mosquitto server, 2.0 or newer. Raises ProgramMissing."""
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(_SYSTEM_FOLDERS))
    if path is None:
        raise ProgramMissing(
            Text(
                f"mosquitto がありません（{_HELP} で入ります）。",
                f"mosquitto is not installed ({_HELP} installs it).",
            )
        )
    version = _mosquitto_version(path)
    if version < MINIMUM_MOSQUITTO:
        shown = ".".join(map(str, version))
        raise ProgramMissing(
            Text(
                f"mosquitto {shown} は古すぎます。2.0 以降が必要です。",
                f"mosquitto {shown} is too old: 2.0 or newer is needed.",
            )
        )
    return Path(path)


@cache
def _mosquitto_version(path: str) -> tuple[int, ...]:
    # "mosquitto -h" prints its version and exits with a code that differs between versions.
    shown = subprocess.run([path, "-h"], capture_output=True, text=True, check=False, timeout=30).stdout
    match = re.search(r"version (\d+)\.(\d+)", shown)
    return tuple(int(part) for part in match.groups()) if match else (0,)


def _candidate_folders() -> list[Path]:
    folders = [path for path in _VERSIONED.glob("*/bin") if path.is_dir()]
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return list(dict.fromkeys(folders))


@cache
def _inspect(folder: Path) -> PostgresPrograms | None:
    if not all((folder / name).is_file() for name in ("postgres", "initdb")):
        return None
    shown = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False, timeout=30
    ).stdout
    match = re.search(r"\) (\d+)", shown)
    if match is None:
        return None
    version = int(match.group(1))
    extensions = _share_folder(folder, version) / "extension"
    return PostgresPrograms(
        folder=folder,
        version=version,
        has_postgis=(extensions / "postgis.control").is_file(),
        has_timescaledb=(extensions / "timescaledb.control").is_file(),
        has_lz4="--with-lz4" in _pg_config(folder, "--configure"),
    )


def _share_folder(folder: Path, version: int) -> Path:
    told = _pg_config(folder, "--sharedir").strip()
    return Path(told) if told else Path(f"/usr/share/postgresql/{version}")


def _pg_config(folder: Path, option: str) -> str:
    program = folder / "pg_config"
    if not program.is_file():
        return ""
    return subprocess.run([program, option], capture_output=True, text=True, check=False, timeout=30).stdout
