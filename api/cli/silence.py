# SPDX-License-Identifier: Apache-2.0
"""``minamo silence``: devices that are late, silent or dead, through a running hub."""

from __future__ import annotations

from typing import Any, Final

import click

from api.cli.printing import print_json
from api.cli.terminal import client_options, guarded, in_words, make_client

_WORDS: Final = {"late": "遅延", "silent": "途絶", "dead": "長期途絶"}


@click.command("silence")
@client_options
@click.option("--json", "as_json", is_flag=True, help="As JSON")
def silence(url: str | None, tenant: str | None, as_json: bool) -> None:
    """Devices that are late, silent or dead, and silent gateways / 途絶しているセンサーと中継機."""

    def work() -> None:
        with make_client(url, tenant) as client:
            found = client.get("/api/v1/silence")
        if as_json:
            print_json(found)
            return
        for line in silence_lines(found):
            click.echo(line)

    guarded(work)


def silence_lines(found: dict[str, Any]) -> list[str]:
    """One line for each silent gateway, then one for each device; flood signs first."""
    lines = [
        f"{group['since']}  {in_words('gateway silent', '中継機の途絶')}  {group['group']}  "
        f"{len(group['devices'])} {in_words('devices', '台')}"
        for group in found["groups"]
    ]
    for device in found["devices"]:
        sign = in_words("  FLOOD SIGN", "  冠水の疑い") if device["floodSign"] else ""
        state = in_words(device["state"], _WORDS[device["state"]])
        lines.append(f"{device['since']}  {state}  {device['deviceId']}  {device['name']}{sign}")
    return lines or [in_words("every device is heard", "すべてのセンサーを受信しています")]
