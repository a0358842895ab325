# SPDX-License-Identifier: Apache-2.0
"""``minamo devices``: what an operator does in a terminal, on a running hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from api.cli import main
from support.hub_process import HubProcess

TENANT = "devicecommands"
CSV = "id,name,model,entityId,reference\r\nc1,巴川,ultrasonic-distance-json,urn:x:c1,4.2\r\nc2,,nope,urn:x:c2,\r\n"


@pytest.fixture(scope="module")
def hub(running_hub: HubProcess) -> Iterator[HubProcess]:
    headers = {"NGSILD-Tenant": TENANT}
    with httpx.Client(base_url=running_hub.url, headers=headers, trust_env=False) as client:
        client.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "X"})
    return running_hub


def run(hub: HubProcess, *words: str, status: int = 0) -> str:
    found = CliRunner().invoke(main, ["devices", *words, "--url", hub.url, "--tenant", TENANT])
    assert found.exit_code == status, found.output
    return found.output


def written(folder: Path, name: str, content: object) -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")
    return str(path)


def test_spreadsheet_is_taken_in_and_passwords_are_kept_in_a_file(hub: HubProcess, tmp_path: Path) -> None:
    file, passwords = written(tmp_path, "devices.csv", CSV), tmp_path / "passwords.csv"
    output = run(hub, "add", file, "--passwords", str(passwords), status=1)
    assert "1 created, 0 changed, 1 refused" in output
    assert "device.model is 'nope'; there is no such model" in output
    (row,) = csv.DictReader(passwords.read_text().splitlines())
    assert (row["id"], row["username"], row["topic"]) == (
        "c1", f"{TENANT}.c1", f"minamo/v1/{TENANT}.c1/readings",
    )  # fmt: skip
    assert row["password"] not in output
    assert passwords.stat().st_mode & 0o777 == 0o600


def test_what_was_written_out_is_taken_in_again(hub: HubProcess, tmp_path: Path) -> None:
    run(hub, "add", written(tmp_path, "one.csv", CSV.partition("c2")[0]))
    out = tmp_path / "out.csv"
    run(hub, "export", str(out))
    assert "1 changed, 0 refused" in run(hub, "add", str(out))
    assert "c1 " in run(hub, "list", "--text", "巴川")


def test_password_is_made_anew_and_taken_away(hub: HubProcess, tmp_path: Path) -> None:
    device = {"id": "c3", "entityId": "urn:x:c3", "model": "level-gauge-json"}
    assert "password" in run(hub, "add", written(tmp_path, "c3.json", device))
    assert "password" in run(hub, "new-password", "c3")
    run(hub, "revoke", "c3")
    assert json.loads(run(hub, "show", "c3"))["credential"]["state"] == "revoked"


def test_device_is_maintained_and_replaced(hub: HubProcess, tmp_path: Path) -> None:
    device = {"id": "c4", "entityId": "urn:x:c4", "model": "level-gauge-json"}
    run(hub, "add", written(tmp_path, "c4.json", device))
    window = json.loads(run(hub, "maintenance", "add", "c4", "--reason", "清掃"))
    assert "maintenance" in run(hub, "list", "--text", "c4")
    run(hub, "maintenance", "end", "c4", window["id"], "2099-01-01T00:00:00+09:00")
    (known,) = json.loads(run(hub, "maintenance", "list", "c4"))["windows"]
    assert known["until"] == "2098-12-31T15:00:00Z"
    assert "c5: urn:x:c4" in run(hub, "replace", "c4", written(tmp_path, "c5.json", {"id": "c5"}))
    assert "retired" in run(hub, "list", "--text", "c4")


def test_model_is_made_and_removed(hub: HubProcess, tmp_path: Path) -> None:
    assert "milesight-em500-udl-chirpstack" in run(hub, "models", "list")
    run(hub, "models", "put", written(tmp_path, "model.json", {"id": "own", "entityType": "River"}))
    assert json.loads(run(hub, "models", "show", "own"))["builtIn"] is False
    run(hub, "models", "remove", "own")
    assert "does not exist" in run(hub, "models", "show", "own", status=1)
