# SPDX-License-Identifier: Apache-2.0
"""``minamo rules`` and ``minamo alarms``: rules in a file, a real flood replayed, an alarm that somebody deals with."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api.cli import main
from broker.times import to_text
from support.hub_process import HubProcess

DATA = Path(__file__).parents[1] / "data"
GAUGE = "urn:ngsi-ld:WaterObserved:dead-run-2018"
STAGES = {"standby": "L1", "caution": "L2", "evacuation_decision": "L3", "danger": "L4"}
MODEL = "https://smartdatamodels.org/dataModel.Environment/"
TENANT = "commands"
RULES = """
# 0.10 m, 30 minutes
- id: dead-run
  name: {ja: デッドラン, en: Dead Run}
  entities: {type: WaterObserved}
  attribute: waterLevel
  levels:
    - {stage: standby, threshold: 0.6}
    - {stage: caution, threshold: 0.9}
    - {stage: evacuation_decision, threshold: 1.2}
    - {stage: danger, threshold: 1.5}
"""


class Person:
    """Somebody at a terminal."""

    def __init__(self, hub: HubProcess, folder: Path) -> None:
        self.hub = hub
        self.file = folder / "rules.yaml"
        self.file.write_text(RULES, encoding="utf-8")

    def types(self, *words: str, fails: bool = False) -> str:
        """What a command prints."""
        where = ["--url", self.hub.url, "--tenant", TENANT]
        place = 2 if words[1:] and not words[1].startswith("-") else 1
        command = [*words[:place], *where, *words[place:]]
        done: Result = CliRunner().invoke(main, command, env={"MINAMO_LANGUAGE": "en", "TZ": "UTC"})
        assert (done.exit_code != 0) is fails, done.output
        return done.output


@pytest.fixture(scope="module")
def person(running_hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """With the record of June 2018 in the hub."""
    someone = Person(running_hub, tmp_path_factory.mktemp("rules"))
    text = gzip.decompress((DATA / "hydrographs" / "dead_run_2018-06_5min.csv.gz").read_bytes()).decode()
    lines = ["entityId,type,attribute,observedAt,value,unitCode"]
    lines += [
        f"{GAUGE},WaterObserved,waterLevel,{r['time']},{r['value']},MTR" for r in csv.DictReader(text.splitlines())
    ]
    record = someone.file.with_name("june.csv")
    record.write_text("\n".join(lines) + "\n", encoding="utf-8")
    level = {"type": "Property", "value": 0.3, "unitCode": "MTR", "observedAt": "2018-06-01T03:00:00Z"}
    entity = {"id": GAUGE, "type": MODEL + "WaterObserved", MODEL + "waterLevel": level}
    made = running_hub.http.post("/ngsi-ld/v1/entities", json=entity, headers={"NGSILD-Tenant": TENANT})
    assert made.status_code in (201, 409), made.text
    someone.types("import", str(record))
    yield someone


def test_a_replay_of_a_file_of_rules_gives_the_golden_timeline(person: Person) -> None:
    month = ("--from", "2018-06-01T00:00:00Z", "--to", "2018-07-03T00:00:00Z")
    (station,) = json.loads(person.types("rules", "replay", *month, "--rules", str(person.file), "--json"))["stations"]
    verbs = {"raised": "RAISE", "cleared": "clear"}
    told = [
        f"{alert['at']} {verbs[alert['kind']]} {STAGES[alert['stage']]} {alert['value']:g}"
        for alert in station["alerts"]
        if alert["kind"] in verbs
    ]
    golden = (DATA / "golden" / "dead_run_2018-06.txt").read_text(encoding="utf-8").splitlines()
    assert told == [line for line in golden if not line.startswith("#")]
    # The record ends in the calm of July: nothing is open.
    assert station["raised"] == []


def test_a_replay_is_drawn_with_its_levels(person: Person) -> None:
    flood = ("--from", "2018-06-11T00:00:00Z", "--to", "2018-06-12T00:00:00Z", "--station", GAUGE)
    text = person.types("rules", "replay", *flood, "--rules", str(person.file))
    assert "288 readings" in text and "▲ raised    flood danger level (1.5)" in text
    drawn = [line for line in text.splitlines() if "*" in line]
    assert len(drawn) > 5 and any(line.endswith("- danger") for line in text.splitlines())


def test_rules_go_in_and_out_of_files(person: Person) -> None:
    assert "dead-run: new" in person.types("rules", "import", str(person.file), "--dry-run")
    assert person.types("rules", "list") == ""
    assert "dead-run: new" in person.types("rules", "import", str(person.file))
    exported = person.types("rules", "export")
    person.file.with_name("again.yaml").write_text(exported, encoding="utf-8")
    assert "dead-run: put" in person.types("rules", "import", str(person.file.with_name("again.yaml")))
    assert "standby 0.6 < caution 0.9" in person.types("rules", "list")
    assert person.types("rules", "show", "dead-run").startswith("id: dead-run\n")


def test_a_file_with_a_fault_is_refused_whole_with_its_place(person: Person) -> None:
    bad = person.file.with_name("bad.yaml")
    bad.write_text(RULES.replace("threshold: 1.5", "treshold: 1.5"), encoding="utf-8")
    assert "rules[0].levels[3].treshold: unknown member" in person.types("rules", "import", str(bad), fails=True)


def test_an_alarm_is_seen_acknowledged_and_audited(person: Person) -> None:
    person.types("rules", "import", str(person.file))
    level = {"type": "Property", "value": 1.3, "unitCode": "MTR", "observedAt": to_text(datetime.now(UTC))}
    path = f"/ngsi-ld/v1/entities/{GAUGE}/attrs"
    answer = person.hub.http.post(path, json={MODEL + "waterLevel": level}, headers={"NGSILD-Tenant": TENANT})
    assert answer.status_code == 204, answer.text
    found = ""
    for _ in range(100):
        if found := person.types("alarms"):
            break
    assert "evacuation_decision" in found
    alarm_id = next(word for word in found.split() if word.startswith("dead-run:"))
    assert "acknowledged" in person.types("alarms", "ack", alarm_id, "--by", "佐藤")
    assert "shelved" in person.types("alarms", "shelve", alarm_id, "--reason", "点検", "--minutes", "5", "--by", "鈴木")
    assert "open" in person.types("alarms", "unshelve", alarm_id)
    lines = person.types("alarms", "audit").splitlines()
    assert [line.split()[2] for line in lines[-3:]] == ["alarm.acknowledged", "alarm.shelved", "alarm.unshelved"]
    steps = json.loads(person.types("alarms", "show", alarm_id))["steps"]
    assert [step["kind"] for step in steps] == ["raised", "acknowledged", "shelved", "unshelved"]
