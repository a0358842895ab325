# SPDX-License-Identifier: Apache-2.0
"""``minamo export`` and ``minamo import``: history files, through a running hub."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import click

from api.cli.history_parts import FilePart, ahead, file_parts
from api.cli.hub_client import HubClient, HubError
from api.cli.terminal import client_options, guarded, in_words, make_client

_TRIES: Final = 5
_COUNTS: Final = ("rows", "new", "repeated", "corrections", "current")


class Progress:
    """One line on a terminal that is written again and again; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._live = self._stream.isatty()
        self._every_s = 0.2 if self._live else 10.0
        self._started = self._told = time.monotonic()

    def tell(self, done: str, rows: int, *, last: bool = False) -> None:
        """``done`` and how many rows a second."""
        now = time.monotonic()
        if not last and now - self._told < self._every_s:
            return
        self._told = now
        rate = rows / max(now - self._started, 1e-3)
        text = f"{done}  {rate:,.0f} rows/s"
        self._stream.write(f"\r{text:<78}" if self._live else f"{text}\n")
        if self._live and last:
            self._stream.write("\n")
        self._stream.flush()


def export(client: HubClient, output: str, parameters: dict[str, Any]) -> None:
    """Write the history that ``parameters`` ask for to the file ``output`` (``-``: standard output)."""
    progress = Progress()
    rows = size = 0
    is_csv = parameters.get("format") != "parquet"
    with _destination(output) as file:
        for block in client.download("/api/v1/export", parameters):
            file.write(block)
            size += len(block)
            rows += block.count(b"\n") if is_csv else 0
            progress.tell(f"{size / 1e6:,.1f} MB", rows)
    if is_csv:
        progress.tell(f"{size / 1e6:,.1f} MB", rows, last=True)
    _say(f"{size:,} bytes written: {output}", f"{size:,} バイトを書き出しました: {output}")


@contextlib.contextmanager
def _destination(output: str) -> Iterator[BinaryIO]:
    """The file; it has its name only when it is whole."""
    if output == "-":
        yield sys.stdout.buffer
        return
    path = Path(output)
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def import_file(
    client: HubClient,
    source: str,
    encoding: str,
    from_line: int,
    rules: dict[str, Any],
    rejects: str | None,
) -> bool:
    """Import the file ``source`` (``-``: standard input); returns whether every row was taken.

    Rows that are refused go to the file ``rejects``, with line and reason before them.
    """
    totals: Counter[str] = Counter()
    created: set[str] = set()
    progress = Progress()
    line = from_line
    with contextlib.ExitStack() as stack:
        file: BinaryIO = sys.stdin.buffer if source == "-" else stack.enter_context(Path(source).open("rb"))
        refused = _Rejects(rejects or (f"{source}.rejected.csv" if source != "-" else "rejected.csv"), stack)
        try:
            for part in ahead(file_parts(file, encoding, from_line)):
                answer = _send(client, part, rules)
                refused.add(part, answer["rejected"])
                totals.update({name: answer[name] for name in _COUNTS})
                created.update(answer["created"])
                line = part.lines[-1] + 1
                share = f"{part.done:4.0%}  " if part.done else ""
                progress.tell(f"{share}{totals['rows']:,} rows", totals["rows"])
        except (HubError, KeyboardInterrupt):
            _say(
                f"{totals['rows']:,} rows are imported. Go on with --from-line {line} (or begin again)",
                f"{totals['rows']:,} 行まで取り込みました。続きは --from-line {line}（最初からでも可）",
            )
            raise
    progress.tell(f"100%  {totals['rows']:,} rows", totals["rows"], last=True)
    totals["created"] = len(created)
    _tell_result(totals, refused, dry_run=bool(rules.get("dryRun")))
    return not refused.count


def _tell_result(totals: Counter[str], refused: _Rejects, *, dry_run: bool) -> None:
    new, repeated, corrections = totals["new"], totals["repeated"], totals["corrections"]
    ja = f"新規 {new:,}、変更なし {repeated:,}、訂正 {corrections:,}、現在値の更新 {totals['current']:,}、"
    ja += f"作成したエンティティ {totals['created']:,}、拒否 {refused.count:,}"
    en = f"new {new:,}, unchanged {repeated:,}, corrections {corrections:,}, current values {totals['current']:,}, "
    en += f"entities made {totals['created']:,}, refused {refused.count:,}"
    _say(en, ja)
    if refused.count:
        _say(f"rows that were refused: {refused.path}", f"拒否した行: {refused.path}")
    if dry_run:
        _say("a dry run: nothing is stored", "試行のため何も保存していません")


class _Rejects:
    """The file of the rows that were refused; it is there once there is one."""

    def __init__(self, path: str, stack: contextlib.ExitStack) -> None:
        self.path = path
        self.count = 0
        self._stack = stack
        self._file: TextIO | None = None

    def add(self, part: FilePart, rejected: Iterable[dict[str, Any]]) -> None:
        """Rows as they stand in the file, behind their line and the reason."""
        for fault in rejected:
            if self._file is None:
                file = Path(self.path).open("w", encoding="utf-8", newline="")  # noqa: SIM115 - the stack closes it
                self._file = self._stack.enter_context(file)
                self._file.write(f"line,reason,{part.header}\n")
            self.count += 1
            row = part.rows[fault["row"]].rstrip("\r\n")
            reason = _cell(f"{fault['reason']}: {fault['detail']}")
            self._file.write(f"{part.lines[fault['row']]},{reason},{row}\n")


def _cell(text: str) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([text])
    return out.getvalue()


def _send(client: HubClient, part: FilePart, rules: dict[str, Any]) -> Any:
    """Post one part. A hub that is away for a moment is asked again: the same part twice is the same as once."""
    body = "".join([part.header, "\n", *part.rows]).encode()
    for attempt in range(1, _TRIES + 1):
        try:
            return client.upload("/api/v1/import", body, "text/csv", rules)
        except HubError as exc:
            if attempt == _TRIES or not exc.may_pass:
                raise
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable")


def _say(english: str, japanese: str) -> None:
    click.echo(in_words(english, japanese), err=True)


@click.command("export")
@client_options
@click.option("-o", "--output", default="-", show_default=True, help="File, or - for standard output / 出力先")
@click.option("--format", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@click.option("--from", help="Observed from, ISO 8601 / 期間の始め")
@click.option("--to", help="Observed before, ISO 8601 / 期間の終わり")
@click.option("--id", help="URIs of entities, comma-separated")
@click.option("--id-pattern", help="Regular expression")
@click.option("--type", help="Types of entities, as in NGSI-LD / 型")
@click.option("--attrs", help="Attributes, comma-separated / 属性")
@click.option("--q", help="Query of their history, as in NGSI-LD")
@click.option("--as-known-at", help="What was believed at this time / この時点で知られていた値")
@click.option("--quality", help="Only values of these: good, suspect ..., comma-separated / 品質")
@click.option("--corrections", is_flag=True, help="Also what is believed no longer / 訂正前の値も")
@click.option("--encoding", type=click.Choice(["utf-8", "utf-8-sig"]), default="utf-8", help="utf-8-sig for Excel")
@click.option("--spreadsheet", is_flag=True, help="Texts like formulas are made harmless / 数式を無害化")
def export_history(url: str | None, tenant: str | None, output: str, **options: Any) -> None:
    """Write history to a file / 履歴をファイルに書き出す. See docs/history-files.md."""
    names = {"id_pattern": "idPattern", "as_known_at": "asKnownAt"}
    parameters = {names.get(name, name): value for name, value in options.items() if value is not None}

    def work() -> None:
        with make_client(url, tenant) as client:
            export(client, output, parameters)

    guarded(work)


@click.command("import")
@client_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--create", is_flag=True, help="Make entities that are not there / ないエンティティを作る")
@click.option("--dry-run", is_flag=True, help="Do everything and take it back / 試すだけ")
@click.option("--as-recorded", is_flag=True, help="A copy of another hub's history / 他のハブの履歴の複製")
@click.option("--encoding", default="utf-8-sig", show_default=True, help="cp932 for files of old Excel / 文字コード")
@click.option("--from-line", default=2, show_default=True, help="Go on from this line / この行から続ける")
@click.option("--rejects", help="File for rows that are refused (default: FILE.rejected.csv) / 拒否した行の出力先")
def import_history(
    url: str | None,
    tenant: str | None,
    file: str,
    create: bool,
    dry_run: bool,
    as_recorded: bool,
    encoding: str,
    from_line: int,
    rejects: str | None,
) -> None:
    """Take history in from FILE, CSV or Parquet / 履歴をファイルから取り込む. See docs/history-files.md.

    Notifies nobody and raises no alert. The same file again changes nothing.
    """
    rules = {"create": create, "dryRun": dry_run, "asRecorded": as_recorded}
    taken = []

    def work() -> None:
        with make_client(url, tenant) as client:
            taken.append(import_file(client, file, encoding, from_line, rules, rejects))

    guarded(work)
    if not all(taken):
        sys.exit(1)
