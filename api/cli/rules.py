# SPDX-License-Identifier: Apache-2.0
"""``minamo rules`` and ``minamo alarms``: rules in files, what they would have done, what people do about alarms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import orjson

from adapters.files.rules_yaml import read_yaml, write_yaml
from api.cli.hub_client import HubClient
from api.cli.printing import print_json
from api.cli.replay_chart import timeline
from api.cli.terminal import client_options, guarded, in_words, make_client

_RULES: Final = "/api/v1/alert-rules"
_ALARMS: Final = "/api/v1/alarms"
_by = click.option("--by", help="Your name for the audit / 操作者名")


@click.group()
def rules() -> None:
    """Alert rules / 警報のルール."""


@rules.command("list")
@client_options
def list_rules(url: str | None, tenant: str | None) -> None:
    """One line a rule."""
    guarded(lambda: _print_rules(make_client(url, tenant)))


@rules.command("show")
@client_options
@click.argument("rule_id")
def show(url: str | None, tenant: str | None, rule_id: str) -> None:
    """One rule as YAML."""
    guarded(lambda: click.echo(write_yaml(make_client(url, tenant).get(f"{_RULES}/{rule_id}")), nl=False))


@rules.command("export")
@client_options
@click.option("--json", "as_json", is_flag=True, help="As JSON, not YAML / YAML でなく JSON")
def export(url: str | None, tenant: str | None, as_json: bool) -> None:
    """All rules, as `import` reads them / すべてのルールを書き出す."""

    def work() -> None:
        document = make_client(url, tenant).get(_RULES)
        if as_json:
            print_json(document)
        else:
            click.echo(write_yaml(document), nl=False)

    guarded(work)


@rules.command("import")
@client_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Remove rules that are not in FILE / ファイルにないルールを消す")
@click.option("--dry-run", is_flag=True, help="Only say what would happen / 何が変わるかだけを表示")
def import_rules(url: str | None, tenant: str | None, file: Path, replace: bool, dry_run: bool) -> None:
    """Put all rules of FILE (YAML or JSON), or none / ルールを一括登録（全部か、なしか）."""

    def work() -> None:
        path = f"{_RULES}/import?replace={str(replace).lower()}&dryRun={str(dry_run).lower()}"
        _print_import(make_client(url, tenant).send(path, {"rules": rules_in(file)}))

    guarded(work)


@rules.command("remove")
@client_options
@click.argument("rule_id")
def remove(url: str | None, tenant: str | None, rule_id: str) -> None:
    """Remove a rule; its open alerts are withdrawn / ルールを消す（開いている警報は取り下げ）."""
    guarded(lambda: make_client(url, tenant).delete(f"{_RULES}/{rule_id}"))


@rules.command("replay")
@client_options
@click.option("--from", "start", required=True, help="ISO 8601, such as 2026-06-01T00:00:00+09:00")
@click.option("--to", "end", help="ISO 8601; default: now / 省略時は現在")
@click.option("--rules", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML or JSON")
@click.option("--station", "stations", multiple=True, help="URI of an entity; several are possible / 観測局")
@click.option("--json", "as_json", is_flag=True, help="As JSON / JSON で")
def replay_rules(
    url: str | None,
    tenant: str | None,
    start: str,
    end: str | None,
    file: Path | None,
    stations: tuple[str, ...],
    as_json: bool,
) -> None:
    """What would have fired? Rules on the stored history; nothing is sent / 過去の記録での試算（通知なし）."""

    def work() -> None:
        question: dict[str, Any] = {"from": start, "entityIds": list(stations)}
        question |= {"to": end} if end else {}
        question |= {"rules": rules_in(file)} if file else {}
        answer = make_client(url, tenant).send(f"{_RULES}/replay", question)
        if as_json:
            print_json(answer)
        else:
            click.echo("\n\n".join(timeline(station, answer["from"], answer["to"]) for station in answer["stations"]))

    guarded(work)


@click.group(invoke_without_command=True)
@client_options
@click.option("--all", "everything", is_flag=True, help="Also those that are cleared / 解除済みも")
@click.pass_context
def alarms(context: click.Context, url: str | None, tenant: str | None, everything: bool) -> None:
    """Alarms by river and station, and what people did / 警報への対応."""
    if context.invoked_subcommand is None:
        guarded(lambda: _print_incidents(make_client(url, tenant), everything))


@alarms.command("show")
@client_options
@click.argument("alarm_id")
def show_alarm(url: str | None, tenant: str | None, alarm_id: str) -> None:
    """One alarm with its steps, as JSON."""
    guarded(lambda: print_json(make_client(url, tenant).get(f"{_ALARMS}/{quote(alarm_id, safe='')}")))


@alarms.command("ack")
@client_options
@click.argument("alarm_id")
@_by
@click.option("--note", help="What you know / 所見")
def acknowledge(url: str | None, tenant: str | None, alarm_id: str, by: str | None, note: str | None) -> None:
    """You have seen it and take care / 確認（対応します）."""
    _do(url, tenant, alarm_id, "acknowledge", {"by": by, "note": note})


@alarms.command("shelve")
@client_options
@click.argument("alarm_id")
@click.option("--reason", required=True, help="Why / 理由")
@click.option("--minutes", type=float, required=True, help="For how long / 何分間")
@_by
def shelve(url: str | None, tenant: str | None, alarm_id: str, reason: str, minutes: float, by: str | None) -> None:
    """Tell nobody for a while, unless it gets worse / 保留（悪化すれば解ける）."""
    _do(url, tenant, alarm_id, "shelve", {"by": by, "reason": reason, "seconds": minutes * 60})


@alarms.command("unshelve")
@client_options
@click.argument("alarm_id")
@click.option("--reason", help="Why / 理由")
@_by
def unshelve(url: str | None, tenant: str | None, alarm_id: str, reason: str | None, by: str | None) -> None:
    """End the shelf before its time / 保留をやめる."""
    _do(url, tenant, alarm_id, "unshelve", {"by": by, "reason": reason})


@alarms.command("records")
@client_options
@click.option("--status", type=click.Choice(["actual", "exercise", "test"]), default="actual", show_default=True)
@click.option("--from", "start", help="ISO 8601")
@click.option("--to", "end", help="ISO 8601")
def records(url: str | None, tenant: str | None, status: str, start: str | None, end: str | None) -> None:
    """Neutral records, one a line: ready for L-Alert, not its interface / L アラート入力用の中立記録."""

    def work() -> None:
        client, after = make_client(url, tenant), 0
        span = {"from": start, "to": end, "status": status}
        while found := client.get(f"{_ALARMS}/records", after=after, limit=1000, **span)["records"]:
            for record in found:
                click.echo(orjson.dumps(record).decode())
            after = found[-1]["recordId"]

    guarded(work)


@alarms.command("audit")
@client_options
@click.option("--from", "start", help="ISO 8601")
@click.option("--to", "end", help="ISO 8601")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV / CSV で")
def audit(url: str | None, tenant: str | None, start: str | None, end: str | None, as_csv: bool) -> None:
    """Everything that people did: who, when, what, why / 監査記録."""

    def work() -> None:
        client, after, first = make_client(url, tenant), 0, True
        span = {"from": start, "to": end}
        while entries := client.get("/api/v1/audit", after=after, limit=1000, **span)["entries"]:
            for entry in entries:
                click.echo(_audit_line(entry, as_csv=as_csv, with_head=first))
                first = False
            after = entries[-1]["id"]

    guarded(work)


def rules_in(file: Path) -> list[Any]:
    """The rules of a YAML or JSON file: an array, or the member ``rules``. Raises ValueError."""
    document = orjson.loads(file.read_bytes()) if file.suffix == ".json" else read_yaml(file.read_bytes())
    found = document.get("rules", [document]) if isinstance(document, dict) else document
    if not isinstance(found, list):
        raise ValueError(f"{file}: an array of rules is expected / ルールの配列が必要です")
    return found


def _print_rules(client: HubClient) -> None:
    for rule in client.get(_RULES)["rules"]:
        watched = rule["entities"].get("type") or ", ".join(rule["entities"]["ids"])
        stages = " < ".join(_level(level) for level in rule.get("levels", []))
        off = "" if rule["enabled"] else in_words("  (off)", "（停止中）")
        click.echo(f"{rule['id']:24} {rule['name'].get('ja') or rule['name'].get('en')}{off}  [{watched}]  {stages}")


def _level(level: dict[str, Any]) -> str:
    return f"{level['stage']} {'when ...' if 'when' in level else level.get('threshold')}"


def _print_import(answer: dict[str, Any]) -> None:
    for rule in answer["rules"]:
        click.echo(f"{rule['id']}: " + (in_words("new", "新規") if rule["created"] else in_words("put", "登録")))
        for warning in rule["warnings"]:
            click.echo("  " + in_words("warning: ", "注意: ") + warning)
    for rule_id in answer["removed"]:
        click.echo(f"{rule_id}: " + in_words("removed", "削除"))
    if answer["dryRun"]:
        click.echo(in_words("(dry run: nothing was changed)", "（試行のみ。変更していません）"))


def _print_incidents(client: HubClient, everything: bool) -> None:
    for incident in client.get("/api/v1/incidents", state="all" if everything else "open")["incidents"]:
        click.echo(f"{_name(incident['name'])}  {incident['incidentId']}")
        for alarm in incident["alarms"]:
            unknown = in_words("  (silent: unknown)", "（無通信：不明）") if alarm["unknown"] else ""
            click.echo(
                f"  {alarm['alarmId']:48} {alarm['status']:12} {alarm['stage']:20} {_name(alarm['stationName'])}"
                f"{unknown}"
            )


def _name(names: dict[str, str]) -> str:
    return in_words(names.get("en") or names["ja"], names.get("ja") or names["en"])


def _do(url: str | None, tenant: str | None, alarm_id: str, what: str, body: dict[str, Any]) -> None:
    given = {name: value for name, value in body.items() if value is not None}
    path = f"{_ALARMS}/{quote(alarm_id, safe='')}/{what}"

    def work() -> None:
        alarm = make_client(url, tenant).send(path, given)
        click.echo(f"{alarm['alarmId']}: {alarm['status']}")

    guarded(work)


def _audit_line(entry: dict[str, Any], *, as_csv: bool, with_head: bool) -> str:
    if not as_csv:
        who = entry["name"] or entry["actor"]
        return f"{entry['at']}  {who:20} {entry['action']:20} {entry['target']}  {entry['reason'] or ''}"
    columns = ("id", "at", "actor", "name", "action", "target", "reason")
    line = ",".join(_quoted(entry[name]) for name in columns)
    return f"{','.join(columns)}\n{line}" if with_head else line


def _quoted(value: object) -> str:
    text = "" if value is None else str(value)
    text = "'" + text if text.startswith(("=", "+", "-", "@")) else text
    return '"' + text.replace('"', '""') + '"'
