# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium for tests of the page, driven over its debugging pipe with the standard library alone.

Chromium reads commands of the Chrome DevTools Protocol from file descriptor 3 and answers on descriptor 4, each message
one JSON document ended by NUL. So no WebSocket package, no driver binary and no open port is needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests also run as root, where Chromium's sandbox refuses to start
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
    "--mute-audio",
    "--password-store=basic",
    # Every name but the test server's own fails to resolve: a page that needs the internet shows it.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
START_TIMEOUT = 30.0  # seconds
CALL_TIMEOUT = 30.0


def find_chromium() -> str | None:
    """Path of an installed Chromium, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class ChromiumError(Exception):
    """Chromium refused a command, threw in the page, or did not answer."""


class Chromium:
    """One browser process with a profile of its own, removed at the end."""

    def __init__(self, program: str, extra_flags: tuple[str, ...] = ()) -> None:
        self._profile = Path(tempfile.mkdtemp(prefix="minamo-page-"))
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._last_id = 0
        self._closed = False
        self._pid, self._write_fd, self._read_fd = self._spawn(program, extra_flags)
        self._reader = threading.Thread(target=self._read_forever, name="chromium-pipe", daemon=True)
        self._reader.start()
        self.call("Browser.getVersion", timeout=START_TIMEOUT)

    def _spawn(self, program: str, extra_flags: tuple[str, ...]) -> tuple[int, int, int]:
        command_read, command_write = (_high_fd(fd) for fd in os.pipe())
        answer_read, answer_write = (_high_fd(fd) for fd in os.pipe())
        log = _high_fd(os.open(self._profile / "chromium.log", os.O_WRONLY | os.O_CREAT, 0o600))
        arguments = [program, *FLAGS, *extra_flags, f"--user-data-dir={self._profile}", "about:blank"]
        actions = [
            (os.POSIX_SPAWN_DUP2, command_read, 3),
            (os.POSIX_SPAWN_DUP2, answer_write, 4),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ]
        pid = os.posix_spawn(program, arguments, os.environ, file_actions=actions, setpgroup=0)
        for fd in (command_read, answer_write, log):
            os.close(fd)
        return pid, command_write, answer_read

    def _read_forever(self) -> None:
        pending = b""
        while chunk := _read(self._read_fd):
            *messages, pending = (pending + chunk).split(b"\0")
            with self._arrived:
                for text in messages:
                    message = json.loads(text)
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self._events.append(message)
                self._arrived.notify_all()
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def call(
        self,
        method: str,
        parameters: dict[str, Any] | None = None,
        session: str | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> dict[str, Any]:
        """Sends one command and waits for its result."""
        with self._arrived:
            self._last_id += 1
            number = self._last_id
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        os.write(self._write_fd, json.dumps(message).encode() + b"\0")
        with self._arrived:
            if not self._arrived.wait_for(lambda: number in self._answers or self._closed, timeout):
                raise ChromiumError(f"{method}: no answer within {timeout} s")
            answer = self._answers.pop(number, None)
        if answer is None:
            raise ChromiumError(f"{method}: Chromium ended")
        if "error" in answer:
            raise ChromiumError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def events(self, session: str, *methods: str) -> list[dict[str, Any]]:
        """Parameters of the events of these methods received so far for one page."""
        with self._arrived:
            return [e["params"] for e in self._events if e.get("sessionId") == session and e["method"] in methods]

    def open_page(self) -> Page:
        """A blank page in a browser context of its own: no storage is shared with another page."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return Page(self, session, context)

    def close(self) -> None:
        """Ends the process (its group too, helpers included) and removes the profile."""
        with contextlib.suppress(ChromiumError, OSError):
            self.call("Browser.close", timeout=5)
        _end_group(self._pid)
        os.close(self._write_fd)
        self._reader.join(timeout=5)
        os.close(self._read_fd)
        shutil.rmtree(self._profile, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Page:
    """One page of the browser."""

    def __init__(self, chromium: Chromium, session: str, context: str) -> None:
        self._chromium = chromium
        self._session = session
        self._context = context
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # A page in the background would get no key strokes.
        self.call("Emulation.setFocusEmulationEnabled", {"enabled": True})

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Sends one command to this page."""
        return self._chromium.call(method, parameters, self._session)

    def allow(self, origin: str, *permissions: str) -> None:
        """As if the person had allowed it."""
        parameters = {"origin": origin, "permissions": list(permissions), "browserContextId": self._context}
        self._chromium.call("Browser.grantPermissions", parameters)

    def events(self, method: str) -> list[dict[str, Any]]:
        """Parameters of the events of this method received so far."""
        return self._chromium.events(self._session, method)

    def close(self) -> None:
        """Closes the page and forgets its storage."""
        self._chromium.call("Target.disposeBrowserContext", {"browserContextId": self._context})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, url: str) -> None:
        """Opens an address."""
        self.call("Page.navigate", {"url": url})

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in answer:
            raise ChromiumError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout: float = 15.0) -> Any:
        """Waits until an expression is true and gives its value."""
        deadline = time.monotonic() + timeout
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise ChromiumError(
                    f"not true within {timeout} s: {expression}\n{self.evaluate('document.body.innerText')}"
                )
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """Presses and releases a named key, such as ArrowDown."""
        code = {"Enter": 13, "ArrowDown": 40, "ArrowUp": 38, "Tab": 9, "Escape": 27}[key]
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = {"type": "keyDown", "text": "\r"} if key == "Enter" else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", event | down)
        self.call("Input.dispatchKeyEvent", event | {"type": "keyUp"})

    def requested_urls(self) -> list[str]:
        """Every address the page and its workers asked for."""
        return [event["request"]["url"] for event in self._chromium.events(self._session, "Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """Console errors and warnings, uncaught exceptions, and violations of the Content-Security-Policy."""
        found = [
            str(event["entry"]["text"]) + " " + str(event["entry"].get("url", ""))
            for event in self._chromium.events(self._session, "Log.entryAdded")
            if event["entry"]["level"] in {"error", "warning"}
        ]
        found += [
            str(event["args"])
            for event in self._chromium.events(self._session, "Runtime.consoleAPICalled")
            if event["type"] in {"error", "warning", "assert"}
        ]
        found += [str(event) for event in self._chromium.events(self._session, "Runtime.exceptionThrown")]
        return found


def _high_fd(fd: int) -> int:
    """Moves a descriptor out of the way of 3 and 4, closed on exec."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(fd)
    return high


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""


def _end_group(pid: int) -> None:
    """Waits for a process for five seconds, then kills the group it leads."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
        time.sleep(0.05)
    else:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
