# SPDX-License-Identifier: Apache-2.0
"""The documents keep up with the code: links lead somewhere, and what is promised to be documented is."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from prometheus_client.metrics import MetricWrapperBase

from api import metrics
from api.cli import main
from broker.intake.readings import Reason
from schemas.stages import STAGES, Stage

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`([\w./*-]+)`")
FOLDERS = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir())
SOURCES = (".py", ".sql", ".js", ".html", ".css")
WRITTEN_BY_THE_READER = "send.py"
# Places that exist on one machine only.
FORBIDDEN = [f"/{folder}/" for folder in ("work", "root", "home")]


def documents() -> Iterator[Path]:
    """The Markdown files of the project, those that are about to be added included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):  # not a checkout
        listed = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        listed += [str(path.relative_to(ROOT)) for path in DOCS.rglob("*.md")]
    return (ROOT / name for name in sorted(listed) if (ROOT / name).is_file())


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = HEADING.findall(CODE.sub("", path.read_text(encoding="utf-8")))
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", list(documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_internal_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def is_ours(name: str) -> bool:
    """Whether ``name`` is meant to be a file or folder of the project."""
    is_source = name.endswith(SOURCES) and not name.startswith((".", "dist/", "/")) and name != WRITTEN_BY_THE_READER
    return "..." not in name and (is_source or name.startswith(FOLDERS))


@pytest.mark.parametrize("path", list(documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(path: Path) -> None:
    names = {name for name in QUOTED.findall(CODE.sub("", path.read_text(encoding="utf-8"))) if is_ours(name)}
    assert [name for name in sorted(names) if not any(ROOT.glob(name)) and not any(path.parent.glob(name))] == []


@pytest.mark.parametrize(
    "path", [path for path in documents() if path.is_relative_to(DOCS)], ids=lambda path: path.name
)
def test_document_is_in_the_list_of_documents(path: Path) -> None:
    listed = [(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(text_of("docs/README.md"))]
    assert path == DOCS / "README.md" or path in listed


@pytest.mark.parametrize("path", list(documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_speak_of_no_particular_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [word for word in FORBIDDEN if word in text] == []


def exposed_names() -> list[str]:
    """The names of our metrics as /metrics shows them."""
    found = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    families = [family for metric in found for family in metric.describe()]
    return [family.name + ("_total" if family.type == "counter" else "") for family in families]


def test_metrics_are_found() -> None:
    assert len(exposed_names()) > 5


@pytest.mark.parametrize("name", exposed_names())
def test_metric_is_documented(name: str) -> None:
    assert re.search(rf"`{name}[`{{]", text_of("docs/operators.md"))


@pytest.mark.parametrize("reason", list(Reason))
def test_reason_of_quarantine_is_documented_with_its_cure(reason: Reason) -> None:
    assert re.search(rf"^\| `{reason.value}` \| .+ \| .+ \|$", text_of("docs/device-makers.md"), re.MULTILINE)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.code)
def test_stage_is_documented(stage: Stage) -> None:
    code, name = stage.code, stage.name_ja
    assert re.search(rf"^\| `{code}` \| {name}", text_of("docs/alert-rules.md"), re.MULTILINE)
    assert name in text_of("docs/disaster-staff.ja.md")


@pytest.mark.parametrize("command", sorted(name for name, found in main.commands.items() if not found.hidden))
def test_command_is_in_the_changelog_of_what_there_is(command: str) -> None:
    assert re.search(rf"`(minamo )?{command}\b", text_of("CHANGELOG.md"))


def test_dependencies_have_a_reason_and_a_licence() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    named = [re.split(r"[\[<>=]", requirement)[0] for requirement in project["dependencies"]]
    rows = [line.split("|")[1] for line in text_of("docs/decisions/0009-dependencies.md").splitlines() if "|" in line]
    assert [name for name in named if not any(re.search(rf"\b{name}\b", row) for row in rows)] == []


def test_example_script_is_python() -> None:
    script = re.search(r"<!-- send.py -->\n```python\n(.*?)```", text_of("docs/device-makers.md"), re.DOTALL)
    assert script is not None
    compile(script[1], "send.py", "exec")
