# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL + PostGIS cluster below the data folder: made once, started as a supervised child.

It listens on a unix socket only, in a folder that only its own user (and root) may enter; whoever can reach the
socket is trusted. The hub works as the role ``minamo``, which is no superuser, so that row-level security holds for
it; extensions are created by the superuser ``postgres``, which only :mod:`api.embedded` (and tests) use.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import psycopg
from psycopg import sql

from api.embedded.postgres_settings import server_settings
from api.embedded.processes import StopSteps, end_processes, working_in
from api.embedded.programs import PostgresPrograms, find_postgres
from api.embedded.state import DataFolder, write_file
from api.embedded.supervisor import Launch, Supervisor
from api.embedded.texts import DataFolderUnusable, ProgramMissing, Progress, StartFailed, Text
from api.embedded.users import check_reachable, server_user
from api.logs import get_logger
from context_store.queries.statements import INDEX_FUNCTIONS

SUPERUSER: Final = "postgres"
ROLE: Final = "minamo"
DATABASE: Final = "minamo"
PORT: Final = 5432  # names the socket file; nothing listens on TCP
SOCKET_PATH_LIMIT: Final = 100  # bytes; the kernel's limit is 107

# A fast shutdown ends sessions and writes everything out; an immediate one leaves recovery to the next start.
STOP: Final[StopSteps] = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
# For processes whose postmaster is gone: there is nothing to shut down cleanly any more.
STOP_LEFT_OVER: Final[StopSteps] = ((signal.SIGTERM, 2.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 5.0))
_RECOVERY_S: Final = 900.0  # replay of the write-ahead log after a crash; the process is watched meanwhile

log = get_logger(__name__)


class EmbeddedPostgres:
    """The cluster of one data folder, from :meth:`start` to :meth:`stop`. The caller holds the folder's lock.

    ``options`` are server settings that win over ours (tests switch fsync off).
    """

    name = "postgres"
    start_timeout_s = _RECOVERY_S

    def __init__(
        self,
        folder: DataFolder,
        *,
        timescaledb: Literal["auto", "off"] = "auto",
        shared_buffers_mb: int | None = None,
        options: Mapping[str, str] | None = None,
        progress: Progress = lambda _text: None,
    ) -> None:
        self._folder = folder
        self._wanted_timescaledb = timescaledb
        self._shared_buffers_mb = shared_buffers_mb
        self._options = options or {}
        self._progress = progress
        self._user = server_user("postgres")
        self._programs: PostgresPrograms | None = None
        self.data = folder.postgres / "data"
        self.socket_folder = socket_folder(folder.postgres)
        self.has_timescaledb = False
        self.supervisor = Supervisor(self)

    @property
    def database_url(self) -> str:
        """URL of the hub's database for the role ``minamo``."""
        return self.url(DATABASE)

    def url(self, database: str, role: str = ROLE) -> str:
        """URL of any database in the cluster."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.socket_folder), safe='')}&port={PORT}"

    async def start(self) -> None:
        """Make the cluster if there is none, start it, make role, database and extensions if they are missing.

        Raises EmbeddedError; nothing is left running then.
        """
        await self._set_up()
        self._progress(Text("データベースを起動しています", "Starting the database"))
        await self.supervisor.start()
        try:
            await self._provision()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Shut the cluster down cleanly."""
        await self.supervisor.stop()

    async def end_left_overs(self) -> None:
        """End processes that an earlier hub left in this cluster, cleanly where that is possible.

        With the folder's lock held nobody else may run a server here. Stopped and started again rather than adopted:
        its settings may be old, and only a child of ours can be watched and stopped with certainty.
        """
        pids = working_in(self.data, "postgres")
        if pids:
            self._progress(
                Text("前回のデータベースプロセスを終了しています", "Ending a database that an earlier run left")
            )
            log.warning("left_over_postgres", pids=pids)
            leader = self._postmaster_pid()
            if leader in pids:
                await end_processes([leader], STOP)
            if not await end_processes(working_in(self.data, "postgres"), STOP_LEFT_OVER):
                raise StartFailed(Text("前回の PostgreSQL が終了しません。", "An earlier PostgreSQL does not end."))
        # Nobody runs here now, so lock files are stale. PostgreSQL itself cannot be sure of that: when the number in
        # them was given to another process meanwhile (usual in containers) it would refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for stale in self.socket_folder.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)

    async def prepare(self) -> Launch:
        """Implements :class:`api.embedded.supervisor.Service`."""
        assert self._programs is not None  # noqa: S101 - start() found them
        await self.end_left_overs()
        self._make_folder(self.socket_folder)
        settings = server_settings(
            self._programs,
            socket_folder=self.socket_folder,
            port=PORT,
            timescaledb=self.has_timescaledb,
            shared_buffers_mb=self._shared_buffers_mb,
            options=self._options,
        )
        owner = (self._user.uid, self._user.gid)
        write_file(self.data / "postgresql.conf", settings.encode(), 0o600, owner)
        operators = self.data / "operator.conf"
        if not operators.exists():
            write_file(operators, b"# Your own settings; they win over those in postgresql.conf.\n", 0o600, owner)
        write_file(self.data / "pg_hba.conf", b"local all all trust\n", 0o600, owner)
        return Launch(
            command=(str(self._programs.postgres), "-D", str(self.data)),
            user=self._user,
            folder=self.data,
            log_file=self._folder.logs / "postgres.log",
            stop_steps=STOP,
        )

    async def answers(self) -> bool:
        """Implements :class:`api.embedded.supervisor.Service`: whether it takes connections."""
        try:
            async with await self._connect("postgres"):
                return True
        except psycopg.Error:
            return False

    async def _set_up(self) -> None:
        version_file = self.data / "PG_VERSION"
        exists = version_file.exists()
        self._programs = find_postgres(int(version_file.read_text()) if exists else None)
        if not exists:
            await self._initialise(self._programs)
        self.has_timescaledb = bool(self._folder.recall().get("timescaledb", False))
        if self.has_timescaledb and not self._programs.has_timescaledb:
            raise ProgramMissing(
                Text(
                    "データは TimescaleDB を使っていますが、TimescaleDB がありません。",
                    "The data folder uses TimescaleDB, which is not installed.",
                )
            )

    async def _initialise(self, programs: PostgresPrograms) -> None:
        """Make the cluster beside its place and move it there when complete, so that half of one is never used."""
        self._progress(
            Text(
                f"専用データベースを作成しています（PostgreSQL {programs.version}）",
                f"Making a private database (PostgreSQL {programs.version})",
            )
        )
        check_reachable(self._folder.postgres, self._user)
        self._make_folder(self._folder.postgres)
        unfinished = self._folder.postgres / "data.unfinished"
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        command: list[str | Path] = [programs.initdb, "-D", unfinished, f"--username={SUPERUSER}", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"]
        if self._options.get("fsync") == "off":
            command.append("--no-sync")
        made = await asyncio.to_thread(self._run_as_user, command)
        if made.returncode != 0:
            output = (made.stdout + made.stderr).strip()
            raise StartFailed(Text(f"initdb が失敗しました: {output}", f"initdb failed: {output}"))
        uses_timescaledb = self._wanted_timescaledb == "auto" and programs.has_timescaledb
        self._folder.remember(timescaledb=uses_timescaledb, postgres_version=programs.version)
        unfinished.rename(self.data)

    def _run_as_user(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        change: dict[str, Any] = {}
        if not self._user.is_current:
            change = {"user": self._user.uid, "group": self._user.gid, "extra_groups": []}
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder.postgres,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            start_new_session=True,
            **change,
        )

    def _make_folder(self, path: Path) -> None:
        """A folder that only the server's user may enter. Raises DataFolderUnusable when it is somebody else's."""
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
        if path.is_symlink() or status.st_uid not in (os.geteuid(), self._user.uid):
            raise DataFolderUnusable(Text(f"{path} は別のユーザーのものです。", f"{path} belongs to another user."))
        self._user.own(path, 0o700)

    def _postmaster_pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    async def _connect(self, database: str) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await psycopg.AsyncConnection.connect(self.url(database, SUPERUSER), autocommit=True, connect_timeout=5)

    async def _provision(self) -> None:
        """Role, database, extensions; each only if missing, so that an interrupted first start is completed."""
        async with await self._connect("postgres") as connection:
            found = await connection.execute("select 1 from pg_roles where rolname = %s", (ROLE,))
            if await found.fetchone() is None:
                await connection.execute(sql.SQL("create role {} login").format(sql.Identifier(ROLE)))
            found = await connection.execute("select 1 from pg_database where datname = %s", (DATABASE,))
            is_new = await found.fetchone() is None
            if is_new:
                await connection.execute(
                    sql.SQL("create database {} owner {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
                )
        await self.create_extensions(DATABASE, timescaledb=self.has_timescaledb, is_new=is_new)

    async def create_extensions(self, database: str, *, timescaledb: bool, is_new: bool) -> None:
        """Create the extensions in a new database; in an old one bring them to the version that is installed now."""
        for name in ["timescaledb", "postgis"] if timescaledb else ["postgis"]:
            create = sql.SQL("create extension if not exists {}").format(sql.Identifier(name))
            # A connection each: the update of TimescaleDB has to be the first statement of its session.
            async with await self._connect(database) as connection:
                if is_new:
                    await connection.execute(create)
                    continue
                try:
                    await connection.execute(sql.SQL("alter extension {} update").format(sql.Identifier(name)))
                except psycopg.errors.UndefinedObject:  # the first start was interrupted here
                    await connection.execute(create)
        async with await self._connect(database) as connection:
            for function in INDEX_FUNCTIONS:  # else row-level security keeps the hub from two of its indexes
                await connection.execute(sql.SQL("alter function {} leakproof").format(sql.SQL(function)))


def socket_folder(base: Path) -> Path:
    """Where the socket goes: beside the cluster, or in the temporary folder when that path is too long for one."""
    beside = base / "socket"
    if len(os.fsencode(beside / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT:
        return beside
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"minamo-{digest}"
