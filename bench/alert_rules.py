# SPDX-License-Identifier: Apache-2.0
"""What a reading costs in alert rules: evaluation alone, with its stored state, and with the database beside it.

``python -m bench.alert_rules [--readings N]``. No hub is needed; the last part starts a PostgreSQL of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from api.workers.alert_states import StateKeeper
from api.workers.rule_directory import RuleDirectory
from broker.alerts import AlertRule, RuleState, Sample, evaluate, parse_rule, parse_state, state_document
from broker.alerts.silence import due_at
from context_store.alerts.rules import AlertRuleStore
from context_store.alerts.standing import AlertStore, StateKey
from context_store.database import ALL_TENANTS, Database
from tests.support.cluster import running_cluster

_LEVEL: Final = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
_STAGES: Final = ("standby", "caution", "evacuation_decision", "danger", "overflow")
_START: Final = datetime(2026, 6, 1, tzinfo=UTC)
_STATIONS: Final = 200
_BATCHES: Final = 20


def _rule(name: str, levels: list[dict[str, Any]], **members: Any) -> AlertRule:
    document = {"id": name, "name": {"en": name}, "entities": {"type": "https://example.org/T"}, "attribute": _LEVEL}
    return parse_rule(document | {"levels": levels} | members)


def _rules() -> dict[str, AlertRule]:
    rise = {"rise": {"atLeast": 0.6, "over": 3600}}
    reaches = {"reaches": {"threshold": 9.0, "within": 3600, "over": 3600}}
    rain = {"sum": {"atLeast": 300, "over": 86_400}}
    both = {"all": [{"level": {"atLeast": 5.0}}, {"any": [rise, reaches, rain]}]}
    return {
        "five levels": _rule("levels", [{"stage": stage, "threshold": n + 1} for n, stage in enumerate(_STAGES)]),
        "five levels, no data": _rule(
            "silence", [{"stage": stage, "threshold": n + 1} for n, stage in enumerate(_STAGES)], noData={"after": 1200}
        ),
        "rise over 60 values": _rule("rise", [{"stage": "caution", "when": rise}]),
        "rain of a day": _rule("rain", [{"stage": "caution", "when": rain}]),
        "level and (rise or time or rain)": _rule("both", [{"stage": "danger", "when": both}]),
    }


def _samples(count: int) -> list[Sample]:
    return [Sample(_START + timedelta(minutes=n), (n % 37) / 100) for n in range(count)]


def _timed(work: Callable[[], object], count: int) -> float:
    """Microseconds for one of ``count``."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / count * 1e6


def _evaluated(rule: AlertRule, samples: list[Sample]) -> RuleState:
    state = RuleState()
    for sample in samples:
        state, _ = evaluate(rule, state, sample)
    return state


def _stored(rule: AlertRule, samples: list[Sample], state: RuleState) -> None:
    """As the worker does: the state out of JSON, the sample counted in, the state into JSON."""
    text = orjson.dumps(state_document(state))
    for sample in samples:
        state, _ = evaluate(rule, parse_state(orjson.loads(text)), sample)
        due_at(rule, state)
        text = orjson.dumps(state_document(state))


def _pure(readings: int) -> None:
    print(f"{'rule':34} {'evaluate':>10} {'with state':>11} {'state':>8}")
    for name, rule in _rules().items():
        samples = _samples(readings)
        alone = _timed(lambda rule=rule, samples=samples: _evaluated(rule, samples), readings)  # type: ignore[misc]
        warm = _evaluated(rule, samples[: readings // 2])
        rest = samples[readings // 2 :]
        stored = _timed(lambda r=rule, s=rest, w=warm: _stored(r, s, w), len(rest))  # type: ignore[misc]
        size = len(orjson.dumps(state_document(warm)))
        print(f"{name:34} {alone:7.1f} us {stored:8.1f} us {size:6} B")


async def _with_database(url: str) -> None:
    database = Database(url, max_size=2)
    await database.open()
    rules = AlertRuleStore()
    directory = RuleDirectory(rules)
    keeper = StateKeeper(AlertStore(), directory)
    rule = _rules()["five levels"]
    keys = [StateKey(1, rule.id, number) for number in range(_STATIONS)]
    async with database.transaction(1) as connection:
        await rules.put_rule(connection, 1, rule, _START)
    began = time.perf_counter()
    for batch in range(_BATCHES):
        async with database.transaction(ALL_TENANTS) as connection:
            await directory.refresh(connection)
            states = await keeper.load(connection, keys)
            if states is None:
                raise RuntimeError("a rule has changed meanwhile")
            for key in keys:
                states[key], _ = evaluate(rule, states[key], Sample(_START + timedelta(minutes=batch), 0.5))
            due = {key: due_at(rule, states[key]) for key in keys}
            await keeper.save(connection, states, due, dict.fromkeys(keys, batch + 1))
            await keeper.write_some(connection, batch + 1)
    cost = (time.perf_counter() - began) / (_BATCHES * _STATIONS) * 1e6
    print(f"states of {_STATIONS} stations had, evaluated, kept or saved, and committed: {cost:.0f} us a reading")
    await database.close()


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=20_000)
    _pure(parser.parse_args().readings)
    with running_cluster() as cluster:
        name = cluster.create_migrated("native")
        asyncio.run(_with_database(cluster.url(name)))


if __name__ == "__main__":
    main()
