# SPDX-License-Identifier: Apache-2.0
"""A private mosquitto below the data folder: generated credentials for the hub, users for the devices."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from api.embedded import mqtt_probe
from api.embedded.mosquitto_files import (
    HUB_USER,
    MqttCredential,
    TlsListener,
    access_file,
    configuration,
    devices_in,
    password_file,
)
from api.embedded.passwords import hash_password
from api.embedded.processes import StopSteps, end_processes, started_with
from api.embedded.programs import find_mosquitto
from api.embedded.state import DataFolder, write_file
from api.embedded.supervisor import ChildState, Launch, Supervisor
from api.embedded.texts import PortInUse, Progress, StartFailed, Text
from api.embedded.users import check_reachable, server_user
from api.logs import get_logger

# Asked to stop, mosquitto writes its persistence; a million queued messages take it seconds.
STOP: Final[StopSteps] = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 5.0))
PORTS_TO_TRY: Final = 100
APPARMOR_PROFILE: Final = Path("/etc/apparmor.d/usr.sbin.mosquitto")
EXPLANATION: Final = "docs/decisions/0003-embedded-default.md"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MqttAccess:
    """How the hub reaches its MQTT broker."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: bool = False


@dataclass(frozen=True, slots=True)
class MosquittoLimits:
    """What the broker holds back, keeps and writes (see the settings of the same names)."""

    receive_maximum: int = 4000
    max_queued_messages: int = 1_000_000
    autosave_interval_s: int = 5


class EmbeddedMosquitto:
    """The broker of one data folder, from :meth:`start` to :meth:`stop`. The caller holds the folder's lock."""

    name = "mosquitto"
    start_timeout_s = 60.0

    def __init__(
        self,
        folder: DataFolder,
        *,
        host: str = "127.0.0.1",
        port: int = 1883,
        limits: MosquittoLimits | None = None,
        tls: TlsListener | None = None,
        progress: Progress = lambda _text: None,
    ) -> None:
        self._folder = folder
        self._host = host
        self._wanted_port = port
        self._limits = limits or MosquittoLimits()
        self._tls = tls
        self._progress = progress
        self._user = server_user("mosquitto")
        self._program: Path | None = None
        self._port = port
        self._password = folder.secret("mqtt_hub_password")
        self._password_hash = hash_password(self._password)
        self._config = folder.mosquitto / "config"
        self._data = folder.mosquitto / "data"
        self._writing = asyncio.Lock()
        self._reload_wanted = False
        self._certificate_changed = False
        self.supervisor = Supervisor(self)

    @property
    def access(self) -> MqttAccess:
        """How the hub connects; valid after :meth:`start`."""
        reached_at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared
        return MqttAccess(reached_at, self._port, HUB_USER, self._password)

    async def start(self) -> None:
        """Choose the port at the first time, then start the broker. Raises EmbeddedError."""
        self._program = find_mosquitto()
        self._make_folders()
        await self.end_left_overs()
        self._port = self._choose_port()
        self._progress(
            Text(
                f"MQTT ブローカーを起動しています（{self._host}:{self._port}）",
                f"Starting the MQTT broker ({self._host}:{self._port})",
            )
        )
        try:
            await self.supervisor.start()
        except StartFailed as failure:
            raise _with_hint(failure) from failure

    async def stop(self) -> None:
        """Stop the broker; it writes what it holds."""
        await self.supervisor.stop()

    async def sync_credentials(self, devices: Iterable[MqttCredential]) -> bool:
        """Make ``devices`` the ones that may connect; True when that changed something.

        A device that is not among them any more, or whose password changed, is disconnected by the broker.
        """
        async with self._writing:
            changed = await asyncio.to_thread(self._write_credentials, list(devices))
        if changed:
            self._reload_wanted = True
            if self.supervisor.state is ChildState.RUNNING:
                self._reload()
        return changed

    def _reload(self) -> None:
        """Have the broker read its files again. Not while it starts: the signal would end it."""
        if self._reload_wanted:
            self._reload_wanted = False
            self.supervisor.send_signal(signal.SIGHUP)

    async def renew_certificate(self) -> bool:
        """Take in a certificate that was renewed, without a restart; whether it was."""
        try:
            await asyncio.to_thread(self._take_certificate)
        except StartFailed as failure:
            log.warning("mqtt_certificate_unreadable", error=failure.text.en)
            return False
        renewed, self._certificate_changed = self._certificate_changed, False
        if renewed:
            self._reload_wanted = True
            if self.supervisor.state is ChildState.RUNNING:
                self._reload()
        return renewed

    def save(self) -> None:
        """Have the broker write what it holds now rather than at the next interval (SIGUSR1)."""
        if self.supervisor.state is ChildState.RUNNING:
            self.supervisor.send_signal(signal.SIGUSR1)

    async def end_left_overs(self) -> None:
        """End a broker that an earlier hub left: one that was started with our configuration file."""
        pids = started_with(str(self._config_file), "mosquitto")
        if not pids:
            return
        self._progress(Text("前回の MQTT ブローカーを終了しています", "Ending an MQTT broker that an earlier run left"))
        log.warning("left_over_mosquitto", pids=pids)
        if not await end_processes(pids, STOP):
            raise StartFailed(Text("前回の mosquitto が終了しません。", "An earlier mosquitto does not end."))

    async def prepare(self) -> Launch:
        """Implements :class:`api.embedded.supervisor.Service`."""
        assert self._program is not None  # noqa: S101 - start() found it
        await self.end_left_overs()
        own_tls = await asyncio.to_thread(self._take_certificate)
        self._certificate_changed = False
        text = configuration(
            host=self._host,
            port=self._port,
            config_folder=self._config,
            data_folder=self._data,
            receive_maximum=self._limits.receive_maximum,
            max_queued_messages=self._limits.max_queued_messages,
            autosave_interval_s=self._limits.autosave_interval_s,
            tls=own_tls,
        )
        self._write(self._config_file, text)
        # Devices of the last run may connect before the hub has read them from the database again.
        async with self._writing:
            known = devices_in(self._read(self._config / "passwords"), self._read(self._config / "access"))
            self._write_credentials(known)
        return Launch(
            command=(str(self._program), "-c", str(self._config_file)),
            user=self._user,
            folder=self._data,
            log_file=self._folder.logs / "mosquitto.log",
            stop_steps=STOP,
        )

    async def answers(self) -> bool:
        """Implements :class:`api.embedded.supervisor.Service`: whether it lets the hub in."""
        access = self.access
        accepted = await mqtt_probe.accepts(access.host, access.port, HUB_USER, self._password)
        if accepted:
            self._reload()  # what was changed while it started
        return accepted

    @property
    def _config_file(self) -> Path:
        return self._config / "mosquitto.conf"

    def _make_folders(self) -> None:
        """config/ belongs to the hub, so that the broker cannot put something else into the place of its files."""
        check_reachable(self._folder.mosquitto, self._user)
        self._folder.mosquitto.mkdir(mode=0o755, exist_ok=True)
        self._config.mkdir(exist_ok=True)
        self._config.chmod(0o711)
        self._data.mkdir(exist_ok=True)
        self._user.own(self._data, 0o700)

    def _choose_port(self) -> int:
        """The remembered port, or at the first time (or when another one is wanted) the next free one."""
        remembered = self._folder.recall()
        known = remembered.get("mqtt_port")
        if known is not None and remembered.get("mqtt_port_wanted") == self._wanted_port:
            if not is_free(self._host, known):
                raise PortInUse(
                    Text(
                        f"MQTT のポート {known} は別のプログラムが使用中です。MINAMO_MQTT_PORT で変えられます。",
                        f"Port {known} for MQTT is in use by another program; MINAMO_MQTT_PORT sets another.",
                    )
                )
            return int(known)
        for port in range(self._wanted_port, min(self._wanted_port + PORTS_TO_TRY, 65_536)):
            if is_free(self._host, port):
                self._folder.remember(mqtt_port=port, mqtt_port_wanted=self._wanted_port)
                return port
        raise PortInUse(
            Text(
                f"MQTT の空きポートがありません（{self._wanted_port} から {PORTS_TO_TRY} 個を確認）。",
                f"No free port for MQTT among {PORTS_TO_TRY} from {self._wanted_port}.",
            )
        )

    def _write_credentials(self, devices: list[MqttCredential]) -> bool:
        texts = {"passwords": password_file(self._password_hash, devices), "access": access_file(devices)}
        changed = [self._write_changed(self._config / name, text) for name, text in texts.items()]
        return any(changed)

    def _write_changed(self, path: Path, text: str) -> bool:
        if text == self._read(path):
            return False
        self._write(path, text)
        return True

    def _take_certificate(self) -> TlsListener | None:
        """Copies of certificate and key that the broker's user may read; None: no TLS."""
        if self._tls is None:
            return None
        own = replace(self._tls, certificate=self._config / "certificate.pem", key=self._config / "key.pem")
        try:
            for source, target in ((self._tls.certificate, own.certificate), (self._tls.key, own.key)):
                self._certificate_changed |= self._write_changed(target, source.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise StartFailed(
                Text(
                    f"MQTT の TLS 証明書または鍵を読めません: {error}",
                    f"The certificate or key of MQTT with TLS cannot be read: {error}",
                )
            ) from error
        return own

    def _write(self, path: Path, text: str) -> None:
        # Owned by the server's user: newer versions of mosquitto refuse password files of anybody else.
        write_file(path, text.encode(), 0o600, (self._user.uid, self._user.gid))

    @staticmethod
    def _read(path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""


def _with_hint(failure: StartFailed) -> StartFailed:
    """The failure, with a hint where AppArmor may keep mosquitto within the folders of the system's own broker."""
    if not APPARMOR_PROFILE.exists():
        return failure
    place = f"{APPARMOR_PROFILE}, {EXPLANATION}"
    return StartFailed(
        Text(
            f"{failure.text.ja}\nAppArmor が原因かもしれません（{place}）。",
            f"{failure.text.en}\nAppArmor may be the cause ({place}).",
        )
    )


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now (connections that just ended do not count)."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError:
            return False
    return True
