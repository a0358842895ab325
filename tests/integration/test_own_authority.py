# SPDX-License-Identifier: Apache-2.0
"""TLS to servers whose certificates are by the city's own authority: HTTPS and MQTT, out and in."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from adapters.channels.sending import ID_HEADER, Senders
from adapters.web.guard import Reach
from adapters.web.trust import mqtt_context
from api.settings import Settings
from broker.errors import BadRequestData
from ingest.client import MqttAddress, MqttClient
from ingest.decode import Message
from support.certificates import make_certificates
from support.folders import free_port, temporary_folder
from support.waiting import eventually

HEADERS = {"Content-Type": "application/json", ID_HEADER: "1"}


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    with temporary_folder() as folder:
        make_certificates(folder)
        yield folder


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def https(certificates: Path) -> Iterator[str]:
    """URL of a receiver with TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}/notify"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mqtts(certificates: Path) -> Iterator[int]:
    """Port of a mosquitto with TLS and nothing else."""
    port = free_port()
    config = certificates / "mosquitto.conf"
    lines = (f"listener {port} 127.0.0.1", f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key",
             "allow_anonymous true", "user root")  # fmt: skip
    config.write_text("\n".join(lines))
    path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"  # Debian's is not on every PATH
    program = subprocess.Popen([shutil.which("mosquitto", path=path) or "", "-c", config], stderr=subprocess.DEVNULL)
    eventually_now(lambda: socket.create_connection(("127.0.0.1", port)).close())
    yield port
    program.terminate()
    program.wait()


def eventually_now(work: Callable[[], None]) -> None:
    """Do ``work`` until it does not fail any more."""
    until = time.monotonic() + 10
    while True:
        try:
            work()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


def senders(ca_file: Path | None) -> Senders:
    return Senders(timeout_s=5, reach=Reach(allow_private=True, allow_loopback=True, ca_file=ca_file))


async def test_receiver_by_https(certificates: Path, https: str) -> None:
    async with senders(certificates / "ca.pem") as out:
        assert (await out.send(https, b"{}", dict(HEADERS))).ok
    async with senders(None) as out:
        refused = await out.send(https, b"{}", dict(HEADERS))
    assert not refused.ok and "certificate" in (refused.error or "")


async def test_receiver_by_mqtts(certificates: Path, mqtts: int) -> None:
    uri = f"mqtts://localhost:{mqtts}/city/levels"
    async with senders(certificates / "ca.pem") as out:
        assert (await out.send(uri, b"{}", dict(HEADERS))).ok
    async with senders(None) as out:
        refused = await out.send(uri, b"{}", dict(HEADERS))
    assert not refused.ok and "certificate" in (refused.error or "")


async def test_a_certificate_for_another_name_is_refused(certificates: Path, mqtts: int, https: str) -> None:
    async with senders(certificates / "ca.pem") as out:
        for uri in (f"mqtts://127.0.0.1:{mqtts}/city/levels", https.replace("localhost", "127.0.0.1")):
            refused = await out.send(uri, b"{}", dict(HEADERS))
            assert not refused.ok and "certificate" in (refused.error or "")


async def test_readings_come_by_mqtts(certificates: Path, mqtts: int) -> None:
    came: list[Message] = []
    client = MqttClient(
        MqttAddress("localhost", mqtts, tls=True),
        client_id="hub",
        receive_maximum=10,
        on_message=came.append,
        tls=mqtt_context(certificates / "ca.pem"),
    )
    task = asyncio.create_task(client.run())
    await asyncio.wait_for(client.subscribed.wait(), 10)
    async with senders(certificates / "ca.pem") as out:
        await out.send(f"mqtts://localhost:{mqtts}/minamo/v1/gauge/readings", b"{}", dict(HEADERS))
    await eventually(lambda: len(came) == 1)
    for message in came:
        client.acknowledge(message)
    task.cancel()
    await asyncio.wait([task])


def test_a_file_without_authorities_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises((ValueError, BadRequestData), match="certificate authorities"):
        Settings(ca_file=tmp_path / "ca.pem")
