# SPDX-License-Identifier: Apache-2.0
"""``minamo devices``: the registry from a terminal."""

from __future__ import annotations

import asyncio
import base64
import csv
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from api.cli.hub_client import HubClient
from api.cli.terminal import client_options, guarded, in_words, load_settings, make_client
from broker.errors import MinamoError

_DEVICES: Final = "/api/v1/devices"
_MODELS: Final = "/api/v1/device-models"
_CSV: Final = "text/csv"

Command = Callable[..., None]


def _path(device_id: str, *more: str) -> str:
    return "/".join((_DEVICES, quote(device_id, safe=""), *more))


@click.group()
def devices() -> None:
    """Registered sensors, their models, passwords and maintenance / センサーの登録・機種・認証・点検."""


@devices.command("list")
@client_options
@click.option("--text", help="In id, key, name, entity, serial number or DevEUI / 文字で探す")
@click.option("--model", help="Of this model / 機種")
@click.option("--owner", help="Of this owner / 所有者")
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def list_devices(
    url: str | None, tenant: str | None, text: str | None, model: str | None, owner: str | None, as_json: bool
) -> None:
    """Devices with their state / 一覧."""

    def work() -> None:
        found = _all(make_client(url, tenant), text=text, model=model, owner=owner)
        if as_json:
            _print({"devices": list(found)})
            return
        for device in found:
            click.echo(_line(device))

    guarded(work)


def _all(client: HubClient, **wanted: str | None) -> Iterator[dict[str, Any]]:
    after: str | None = ""
    while after is not None:
        page = client.get(_DEVICES, after=after, **wanted)
        yield from page["devices"]
        after = page["next"]


def _line(device: dict[str, Any]) -> str:
    status = device["status"]
    battery = f"{status['batteryLevel'] * 100:.0f} %" if status.get("batteryLevel") is not None else "-"
    seen = status["lastSeenAt"] or "-"
    return f"{device['id']:24} {status['state']:11} {seen:27} {battery:>5}  {device['entityId']}  {device['name']}"


@devices.command("show")
@client_options
@click.argument("device_id")
def show_device(url: str | None, tenant: str | None, device_id: str) -> None:
    """One device, whole / 一件."""
    guarded(lambda: _print(make_client(url, tenant).get(_path(device_id))))


@devices.command("add")
@client_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only tell what would become of each / 試行のみ")
@click.option(
    "--passwords", type=click.Path(dir_okay=False, path_type=Path), help="Write new passwords here / パスワードの出力先"
)
def add_devices(url: str | None, tenant: str | None, file: Path, dry_run: bool, passwords: Path | None) -> None:
    """Register or change the devices in FILE: JSON (one, or an array) or CSV. New passwords are shown once."""
    guarded(lambda: _add(make_client(url, tenant), file, dry_run, passwords))


def _add(client: HubClient, file: Path, dry_run: bool, passwords: Path | None) -> None:
    body, parameters = file.read_bytes(), {"dryRun": dry_run}
    if file.suffix.lower() == ".csv":
        answer = client.upload(f"{_DEVICES}.csv", body, _CSV, parameters)
    else:
        document = orjson.loads(body)
        registrations = document if isinstance(document, list) else document.get("devices", [document])
        wrapped = orjson.dumps({"devices": registrations})
        answer = client.upload(_DEVICES, wrapped, "application/json", parameters)
    given = [{"id": result["id"], **result["mqtt"]} for result in answer["results"] if "mqtt" in result]
    if passwords is not None:
        _write_passwords(passwords, given)
    for result in answer["results"]:
        click.echo(
            f"{result['number']:6} {result['status']:8} {result['id'] or '-'}  {result.get('detail', '')}".rstrip()
        )
        if passwords is None and "mqtt" in result:
            _tell_access(result["mqtt"])
    told = {name: answer[name] for name in ("created", "changed", "refused")}
    click.echo(", ".join(f"{count} {name}" for name, count in told.items()))
    if answer["refused"]:
        raise click.ClickException(in_words("not all could be taken", "登録できない行がありました"))


def _tell_access(mqtt: dict[str, str]) -> None:
    click.echo(f"  topic    {mqtt['topic']}\n  username {mqtt['username']}\n  password {mqtt['password']}")
    click.echo("  (the password is shown only now / パスワードは今だけ表示されます)")


def _write_passwords(path: Path, given: list[dict[str, str]]) -> None:
    """For the owner's eyes only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("id", "username", "password", "topic"))
        writer.writeheader()
        writer.writerows(given)


@devices.command("export")
@client_options
@click.argument("file", type=click.File("wb"), default="-")
def export_devices(url: str | None, tenant: str | None, file: Any) -> None:
    """All devices as CSV, for a spreadsheet; devices add takes it back / CSV で書き出し."""
    guarded(lambda: file.writelines(make_client(url, tenant).download(f"{_DEVICES}.csv", {})))


@devices.command("decode")
@client_options
@click.argument("device_id")
@click.argument("file", type=click.File("rb"))
@click.option("--topic", help="As if it came at this topic / このトピックで届いたものとして")
@click.option("--hex", "is_hex", is_flag=True, help="FILE holds hexadecimal digits / FILE は16進数")
def decode_frame(
    url: str | None, tenant: str | None, device_id: str, file: Any, topic: str | None, is_hex: bool
) -> None:
    """What the message in FILE would become; nothing is stored / 試し読み（保存しない）."""

    def work() -> None:
        frame = file.read()
        name, text = ("payloadHex", frame.decode()) if is_hex else ("payloadBase64", base64.b64encode(frame).decode())
        body = {name: text.strip(), **({"topic": topic} if topic else {})}
        _print(make_client(url, tenant).send(_path(device_id, "decode"), body))

    guarded(work)


@devices.command("remove")
@client_options
@click.argument("device_id")
def remove_device(url: str | None, tenant: str | None, device_id: str) -> None:
    """Remove a device; its entities and history stay / 登録の削除（履歴は残る）."""
    guarded(lambda: make_client(url, tenant).delete(_path(device_id)))


@devices.command("new-password")
@client_options
@click.argument("device_id")
def new_password(url: str | None, tenant: str | None, device_id: str) -> None:
    """Another password; the old one ends at once / パスワードの再発行."""
    guarded(lambda: _tell_access(make_client(url, tenant).put(_path(device_id, "credential"), {})["mqtt"]))


@devices.command("revoke")
@client_options
@click.argument("device_id")
def revoke(url: str | None, tenant: str | None, device_id: str) -> None:
    """Take the password away: the device is disconnected / パスワードの失効."""
    guarded(lambda: make_client(url, tenant).delete(_path(device_id, "credential")))


@devices.command("replace")
@client_options
@click.argument("device_id")
@click.argument("file", type=click.File("rb"))
def replace_device(url: str | None, tenant: str | None, device_id: str, file: Any) -> None:
    """Let the device in the JSON FILE (id, and what differs) take the place of DEVICE_ID / 機器の交換."""

    def work() -> None:
        answer = make_client(url, tenant).send(_path(device_id, "replacement"), orjson.loads(file.read()))
        click.echo(f"{answer['id']}: {answer['entityId']}")
        if mqtt := answer.get("mqtt"):
            _tell_access(mqtt)

    guarded(work)


@devices.command("mqtt-files")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--watch", is_flag=True, help="Go on, and write again when devices change / 変更のたびに書き直す")
@click.option(
    "--pid-file", type=click.Path(path_type=Path), help="Of mosquitto: it is told to read them again (SIGHUP)"
)
@click.option("--owner", help="User that mosquitto runs as; the files become its own / ファイルの所有者")
def mqtt_files(folder: Path, watch: bool, pid_file: Path | None, owner: str | None) -> None:
    """Write password file and access list for a mosquitto of your own into FOLDER / 市の mosquitto 用のファイル.

    Works on the database (MINAMO_DATABASE_URL). The hub's own user comes from MINAMO_MQTT_URL.
    """
    server = import_module("api.cli.server")
    settings = load_settings()
    target = import_module("api.devices.mqtt_files").Target(folder, owner, pid_file)

    def work() -> None:
        asyncio.run(server.mqtt_files(settings, target, watch=watch, progress=click.echo))

    try:
        guarded(work)
    except MinamoError as exc:
        raise click.ClickException(str(exc)) from exc


@devices.group()
def maintenance() -> None:
    """Times in which a device is being worked on / 点検の期間."""


@maintenance.command("add")
@client_options
@click.argument("device_id")
@click.option("--reason", required=True, help="What is done, and by whom / 理由")
@click.option("--from", "start", help="ISO 8601 with offset; default: now / 開始。省略時は今")
@click.option("--until", help="ISO 8601 with offset; default: until it is ended / 終了。省略時は終えるまで")
def add_maintenance(
    url: str | None, tenant: str | None, device_id: str, reason: str, start: str | None, until: str | None
) -> None:
    """Announce or begin it / 登録・開始."""
    document = {"reason": reason, "from": start, "until": until}
    body = {name: value for name, value in document.items() if value is not None}
    guarded(lambda: _print(make_client(url, tenant).send(_path(device_id, "maintenance"), body)))


@maintenance.command("list")
@client_options
@click.argument("device_id")
def list_maintenance(url: str | None, tenant: str | None, device_id: str) -> None:
    """Past and to come / 一覧."""
    guarded(lambda: _print(make_client(url, tenant).get(_path(device_id, "maintenance"))))


@maintenance.command("end")
@client_options
@click.argument("device_id")
@click.argument("window_id")
@click.argument("until")
def end_maintenance(url: str | None, tenant: str | None, device_id: str, window_id: str, until: str) -> None:
    """End the window WINDOW_ID at UNTIL (ISO 8601 with offset) / 終了."""
    guarded(
        lambda: _print(make_client(url, tenant).patch(_path(device_id, "maintenance", window_id), {"until": until}))
    )


@devices.group()
def models() -> None:
    """What devices of one kind have in common / 機種."""


@models.command("list")
@client_options
def list_models(url: str | None, tenant: str | None) -> None:
    """The tenant's models and the built-in ones / 一覧."""

    def work() -> None:
        for model in make_client(url, tenant).get(_MODELS)["models"]:
            origin = "built-in" if model["builtIn"] else "own"
            click.echo(f"{model['id']:36} {origin:9} {model['name']}")

    guarded(work)


@models.command("show")
@client_options
@click.argument("model_id")
def show_model(url: str | None, tenant: str | None, model_id: str) -> None:
    """One model, whole / 一件."""
    guarded(lambda: _print(make_client(url, tenant).get(f"{_MODELS}/{quote(model_id, safe='')}")))


@models.command("put")
@client_options
@click.argument("file", type=click.File("rb"))
def put_model(url: str | None, tenant: str | None, file: Any) -> None:
    """Create or change the model in the JSON FILE, and with it its devices / 登録・変更."""

    def work() -> None:
        document = orjson.loads(file.read())
        _print(make_client(url, tenant).put(f"{_MODELS}/{quote(str(document.get('id')), safe='')}", document))

    guarded(work)


@models.command("remove")
@client_options
@click.argument("model_id")
def remove_model(url: str | None, tenant: str | None, model_id: str) -> None:
    """Remove a model that no device has / 削除."""
    guarded(lambda: make_client(url, tenant).delete(f"{_MODELS}/{quote(model_id, safe='')}"))


def _print(document: Any) -> None:
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
