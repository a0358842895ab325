# SPDX-License-Identifier: Apache-2.0
"""A year of a real river through a whole hub: imported by the command line, plotted, corrected, exported, moved.

The levels are those of Plumtree Run in 2017 (tests/data/hydrographs/README.md): 34,086 readings every 15 minutes with
nine gaps.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from api.cli import main
from support.hub_process import HubProcess, hub_process

DATA = Path(__file__).parents[1] / "data" / "hydrographs" / "plumtree_run_2017_15min.csv.gz"
GAUGE = "urn:ngsi-ld:WaterObserved:plumtree-run"
HEAD = "entityId,type,attribute,observedAt,value,unitCode"
SERIES = f"/api/v1/entities/{GAUGE}/series/waterLevel"
YEAR = {"from": "2017-01-01T00:00:00Z", "to": "2018-01-01T00:00:00Z"}
LATE = 96  # readings of a day that are corrected later

Levels = list[tuple[str, str]]


def year() -> Levels:
    """(time, level) as the file has them."""
    with gzip.open(DATA, "rt") as file:
        return [(row["time"], row["value"]) for row in csv.DictReader(file)]


def checksum(levels: Iterable[tuple[str, str]]) -> str:
    """Of times and values."""
    return hashlib.sha256("\n".join(f"{at} {float(value)!r}" for at, value in levels).encode()).hexdigest()


@dataclass
class Station:
    """A hub that has the year, and a folder."""

    hub: HubProcess
    folder: Path
    imported: Result | None = None
    known_at: str = ""
    corrected: Levels = field(default_factory=list)

    def minamo(self, *arguments: str) -> Result:
        """A command of the hub, in English. Files are in the folder of the test."""
        placed = [str(self.folder / word) if word.endswith((".csv", ".parquet")) else word for word in arguments]
        return CliRunner().invoke(main, [*placed, "--url", self.hub.url], env={"MINAMO_LANGUAGE": "en"})

    def write(self, name: str, levels: Levels) -> str:
        """A file to import."""
        rows = (f"{GAUGE},WaterObserved,waterLevel,{at},{value},MTR\n" for at, value in levels)
        (self.folder / name).write_text("".join([HEAD, "\n", *rows]))
        return name

    def export(self, name: str, *arguments: str) -> bytes:
        """The file of an export."""
        done = self.minamo("export", "-o", name, *arguments)
        assert done.exit_code == 0, done.stderr
        return (self.folder / name).read_bytes()

    def series(self, **parameters: Any) -> dict[str, Any]:
        """The series of the year."""
        answer: dict[str, Any] = self.hub.http.get(SERIES, params=YEAR | parameters).json()
        return answer


def rows_of(file: bytes) -> list[dict[str, str]]:
    """The rows of an export."""
    return list(csv.DictReader(io.StringIO(file.decode(), newline="")))


def levels_of(file: bytes) -> Levels:
    """(time, level) of an export."""
    return [(row["observedAt"], row["value"]) for row in rows_of(file)]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """The year is imported; then a day of it is corrected."""
    folder = tmp_path_factory.mktemp("files")
    with hub_process() as hub:
        station = Station(hub, folder)
        station.imported = station.minamo("import", station.write("year.csv", year()), "--create")
        assert station.imported.exit_code == 0, station.imported.stderr
        station.known_at = max(row["recordedAt"] for row in rows_of(station.export("first.csv")))
        before = year()
        late = [(at, f"{float(value) + 0.111:.3f}") for at, value in before[9000 : 9000 + LATE]]
        station.corrected = before[:9000] + late + before[9000 + LATE :]
        done = station.minamo("import", station.write("late.csv", late))
        assert done.exit_code == 0 and f"corrections {LATE}" in done.stderr, done.stderr
        yield station


def test_a_year_is_imported_without_loss(station: Station) -> None:
    assert station.imported is not None and "new 34,086, unchanged 0" in station.imported.stderr
    assert checksum(levels_of((station.folder / "first.csv").read_bytes())) == checksum(year())


def test_late_corrections_are_what_is_exported(station: Station) -> None:
    assert checksum(levels_of(station.export("now.csv"))) == checksum(station.corrected)


def test_what_was_believed_before_them_is_still_the_same_file(station: Station) -> None:
    def without_ends(file: bytes) -> list[dict[str, str]]:
        return [row | {"supersededAt": ""} for row in rows_of(file)]

    before = station.export("before.csv", "--as-known-at", station.known_at)
    assert without_ends(before) == without_ends((station.folder / "first.csv").read_bytes())
    assert len(rows_of(station.export("ever.csv", "--corrections"))) == 34_086 + LATE


def test_the_same_file_again_changes_nothing(station: Station) -> None:
    before = station.export("a.csv", "--corrections")
    station.write("corrected.csv", station.corrected)
    done = station.minamo("import", "corrected.csv")
    assert "new 0, unchanged 34,086, corrections 0, current values 0" in done.stderr
    assert station.export("b.csv", "--corrections") == before


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_month_moves_to_another_tenant_with_all_that_was_ever_believed(station: Station, form: str) -> None:
    month = ("--corrections", "--from", "2017-04-01T00:00:00Z", "--to", "2017-05-01T00:00:00Z")
    original = station.export("original.csv", *month)
    station.export(f"moved.{form}", *month, "--format", form)
    tenant = ("--tenant", f"by_{form}")
    done = station.minamo("import", f"moved.{form}", "--create", "--as-recorded", *tenant)
    assert done.exit_code == 0, done.stderr
    assert station.export("copy.csv", "--corrections", *tenant) == original
    assert len(rows_of(original)) == 2_880 + LATE


def test_parquet_read_by_another_program_is_the_same_levels(station: Station) -> None:
    station.export("year.parquet", "--format", "parquet")
    table = pq.read_table(station.folder / "year.parquet", columns=["observedAt", "numberValue"])
    times, numbers = table["observedAt"].to_pylist(), table["numberValue"].to_pylist()
    expected = [(datetime.fromisoformat(at), float(value)) for at, value in station.corrected]
    assert list(zip(times, numbers, strict=True)) == expected


def test_the_plotted_year_is_of_readings_each_in_its_hour(station: Station) -> None:
    """Once the year is rolled, an extreme stands where its hour begins; before that, at its own time."""
    answer = station.series(points=800)
    levels = {datetime.fromisoformat(at).timestamp(): float(value) for at, value in station.corrected}
    times, values, _ = answer["data"]
    plotted = [(at, value) for at, value in zip(times, values, strict=True) if value is not None]
    assert answer["count"] == 34_086 and len(times) < 900
    strange = [(at, value) for at, value in plotted if value not in {levels.get(at + s) for s in range(0, 3600, 900)}]
    assert strange == []
    assert (min(levels.values()), max(levels.values())) == (answer["min"]["value"], answer["max"]["value"])
    assert max(value for _, value in plotted) == max(levels.values())


def test_gaps_of_the_year_are_gaps_of_the_plot(station: Station) -> None:
    answer = station.series(points=10_000)
    stretch = 365 * 86_400 / 5_000
    times = [datetime.fromisoformat(at).timestamp() for at, _ in station.corrected]
    gaps = [(a, b) for a, b in pairwise(times) if b - a > stretch]
    plotted = answer["data"][0]
    empty = [place for place, value in enumerate(answer["data"][1]) if value is None]
    assert [(plotted[place - 1], plotted[place + 1]) for place in empty] == gaps
    assert len(gaps) == 5


def test_rows_that_are_refused_can_be_mended_and_imported(station: Station) -> None:
    lines = [HEAD, f'{GAUGE},WaterObserved,note,2017-06-01T00:00:00Z,"a\nb",', f"{GAUGE},WaterObserved,note,then,c,"]
    (station.folder / "bad.csv").write_text("\n".join(lines) + "\n")
    done = station.minamo("import", "bad.csv", "--tenant", "mended", "--create")
    assert done.exit_code == 1 and "refused 1" in done.stderr
    rejects = (station.folder / "bad.csv.rejected.csv").read_text()
    assert rejects.splitlines()[0] == f"line,reason,{HEAD}" and "\n4,observedAt" in "\n" + rejects
    (station.folder / "mended.csv").write_text(rejects.replace(",then,", ",2017-06-02T00:00:00Z,"))
    assert station.minamo("import", "mended.csv", "--tenant", "mended").exit_code == 0
    assert [value for _, value in levels_of(station.export("m.csv", "--tenant", "mended"))] == ["a\nb", "c"]


def test_an_export_that_breaks_off_leaves_no_file(station: Station) -> None:
    done = station.minamo("export", "-o", "broken.csv", "--q", "a==")
    assert done.exit_code == 1 and "400" in done.stderr
    assert not list(station.folder.glob("broken.csv*"))


def test_an_import_raised_no_alert_and_told_nobody(station: Station) -> None:
    assert station.hub.sql("select count(*) from change_event") == [(0,)]
    assert httpx.get(f"{station.hub.url}/api/v1/alerts?state=all", trust_env=False).json()["alerts"] == []
