# SPDX-License-Identifier: Apache-2.0
"""A certificate authority and a certificate for this machine, made by openssl as an operator makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(folder: Path) -> None:
    """``ca.pem``, and ``server.pem`` with ``server.key`` for the name localhost."""
    ca, key, request, server = (folder / name for name in ("ca.pem", "server.key", "server.csr", "server.pem"))
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=City CA",
             "-keyout", folder / "ca.key", "-out", ca)  # fmt: skip
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
             "-days", "2", "-extfile", folder / "names", "-out", server)  # fmt: skip
