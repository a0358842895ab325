# SPDX-License-Identifier: Apache-2.0
"""Taking in the documents of cities and prefectures: fetch, take apart, decode as messages of devices, commit.

What a poll brings goes the way of every reading: the device's format, mapping, quality, quarantine. The state of the
poll is written after the readings, so that a crash between the two repeats a fetch, which changes nothing.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog

from adapters.polls.fetching import Fetched, FetchFailed, Validators
from adapters.polls.records import Record, read_records
from api.hub import Hub
from api.intake.ingest_parts import make_decoder, make_state_keeper
from api.metrics import POLLS
from broker.devices.model import Device
from broker.errors import Conflict, StoreUnavailable
from broker.intake.polls import Poll, address_of, next_due
from broker.intake.readings import Observation, Quarantined, UndecodablePayload, UnstorableBatch
from broker.times import to_text
from context_store.devices.directory import CachedDeviceDirectory
from context_store.intake.commits import PostgresReadingStore
from context_store.intake.polls import Finish, StoredPoll, finish, get_poll, lease_one, seen_stations
from context_store.tenants import DEFAULT_TENANT
from ingest.decode import Message
from ingest.pipeline import refused
from ingest.topics import own_topic

log = structlog.get_logger(__name__)

_MARGIN: Final = timedelta(seconds=120)  # for the commits after a fetch, until somebody else may try
_AT_ONCE: Final = 200  # messages in a commit
_STATIONS_TOLD: Final = 500
_EXCERPT: Final = 500  # characters of a document that cannot be read
_FAULTY: Final = "!"  # behind the digest of what was quarantined

State = dict[str, Any]


@dataclass(slots=True)
class _Taken:
    """What became of a document."""

    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seen: dict[str, str] = field(default_factory=dict)
    unregistered: dict[str, Record] = field(default_factory=dict)
    untimed: bool = False


def poll_key(tenant: str, poll_id: str) -> str:
    """The name of a poll in the whole hub: what addresses of its stations begin with."""
    return poll_id if tenant == DEFAULT_TENANT else f"{tenant}.{poll_id}"


class Poller:
    """Fetches what polls say and takes it in."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._directory = CachedDeviceDirectory(hub.database)
        self._decoder = make_decoder(hub.settings)
        self._device_state = make_state_keeper(hub.settings)
        self._store = PostgresReadingStore(hub.database, hub.terms, hub.history)

    def lease_until(self, now: datetime) -> datetime:
        """How long a fetch that begins ``now`` may take at most."""
        return now + timedelta(seconds=self._hub.settings.poll_timeout_s) + _MARGIN

    async def run_now(self, tenant_id: int, poll_id: str, now: datetime) -> StoredPoll:
        """Fetch it, due or not, paused or not. Raises :class:`ResourceNotFound`, :class:`Conflict`."""
        lease = uuid.uuid4()
        async with self._hub.database.transaction(tenant_id) as connection:
            await get_poll(connection, tenant_id, poll_id)
            if not await lease_one(connection, tenant_id, poll_id, lease, now, self.lease_until(now)):
                raise Conflict(f"Poll {poll_id} is being fetched just now")
        await self.run(tenant_id, poll_id, lease, now)
        async with self._hub.database.transaction(tenant_id) as connection:
            return await get_poll(connection, tenant_id, poll_id)

    async def run(self, tenant_id: int, poll_id: str, lease: uuid.UUID, now: datetime) -> None:
        """Fetch a poll whose ``lease`` we have, and give it back."""
        async with self._hub.database.transaction(tenant_id) as connection:
            stored = await get_poll(connection, tenant_id, poll_id)
            seen = await seen_stations(connection, tenant_id, poll_id)
        try:
            done = await self._fetched(stored, seen, now)
        except StoreUnavailable:
            raise
        except Exception as exc:  # whatever is wrong, people have to see it where they look
            log.exception("poll.broken", poll=poll_id, tenant=stored.tenant)
            done = _failed(stored, {**stored.state, "lastAttemptAt": to_text(now)}, exc, None)
        POLLS.labels(done.state["outcome"]).inc()
        async with self._hub.database.transaction(tenant_id) as connection:
            await finish(connection, tenant_id, poll_id, lease, done)

    async def preview(self, poll: Poll, headers: dict[str, str]) -> tuple[list[tuple[str, Record]], Fetched]:
        """What the document holds now; nothing is stored. Raises FetchFailed, UndecodablePayload."""
        fetched = await self._hub.documents.fetch(poll.url, headers, Validators())
        return read_records(fetched.body or b"", poll.format, fetched.headers), fetched

    async def devices(self, tenant_id: int, addresses: list[str]) -> dict[str, Device]:
        """Those of ``addresses`` that are devices of the tenant."""
        await self._directory.refresh()
        found = {address: self._directory.find(address) for address in addresses}
        return {address: device for address, device in found.items() if device and device.tenant_id == tenant_id}

    async def _fetched(self, stored: StoredPoll, seen: dict[str, str], now: datetime) -> Finish:
        poll, old = stored.poll, stored.state
        known = await self._known(stored)
        state: State = {**old, "lastAttemptAt": to_text(now)}
        excerpt = None
        try:
            headers = self._hub.sealer.open(stored.headers)
            fetched = await self._hub.documents.fetch(poll.url, headers, known)
            if fetched.body is None:
                state |= {"outcome": "unchanged", "httpStatus": 304}
                return _well(stored, state, known, None, now)
            excerpt = fetched.body[:_EXCERPT].decode("utf-8", "replace")
            taken = await self._take(stored, poll, fetched, seen)
        except (FetchFailed, UndecodablePayload, Conflict) as exc:
            return _failed(stored, state, exc, excerpt)
        state |= {"outcome": "taken", "httpStatus": 200, "lastChangeAt": to_text(now)} | _told(stored, taken)
        return _well(stored, state, fetched.validators, taken.seen, now)

    async def _known(self, stored: StoredPoll) -> Validators:
        """What the server need not send again; nothing, where the same document would say something new.

        It does where a record is of the moment it was read at, and where a device was registered since.
        """
        told = [entry["address"] for entry in stored.state.get("unregistered", ())]
        if stored.state.get("untimed") or await self.devices(stored.tenant_id, told):
            return Validators()
        return Validators(stored.etag, stored.last_modified)

    async def _take(self, stored: StoredPoll, poll: Poll, fetched: Fetched, seen: dict[str, str]) -> _Taken:
        records = read_records(fetched.body or b"", poll.format, fetched.headers)
        await self._directory.refresh()
        by_station: dict[str, list[Record]] = {}
        for station, record in records:
            by_station.setdefault(station, []).append(record)
        taken = _Taken(len(records))
        messages: list[tuple[str, str, Device, Message]] = []
        received_at = datetime.now(UTC)
        for station, group in by_station.items():
            address = address_of(poll_key(stored.tenant, stored.poll_id), station)
            device = self._directory.find(address)
            if device is None or device.tenant_id != stored.tenant_id:
                taken.unregistered[station] = group[0]
                continue
            digest = hashlib.blake2b(orjson.dumps(group), digest_size=8).hexdigest()
            is_timed = device.format.time_field is not None or device.format.name != "json"
            taken.untimed |= not is_timed
            old = seen.get(station, "")
            if old == digest + _FAULTY or (is_timed and old == digest):
                taken.seen[station] = old
                taken.counts["unchanged"] += 1
                continue
            for payload in _payloads(group, self._hub.settings.max_payload_bytes):
                messages.append((station, digest, device, Message(own_topic(device.key), payload, received_at)))
        for begin in range(0, len(messages), _AT_ONCE):
            await self._commit(messages[begin : begin + _AT_ONCE], taken)
        return taken

    async def _commit(self, messages: list[tuple[str, str, Device, Message]], taken: _Taken) -> None:
        observations: list[Observation] = []
        faults: list[Quarantined] = []
        for station, digest, device, message in messages:
            found, fault = self._decode(message, device)
            observations += found
            taken.counts["stored"] += sum(observation.device is device for observation in found)
            if fault is not None:
                faults.append(fault)
            if taken.seen.get(station) != digest + _FAULTY:
                taken.seen[station] = digest + (_FAULTY if fault is not None else "")
        taken.counts["quarantined"] += len(faults)
        try:
            await self._store.commit(observations, faults)
        except UnstorableBatch:
            for _, _, device, message in messages:
                await self._commit_one(message, device, taken)

    async def _commit_one(self, message: Message, device: Device, taken: _Taken) -> None:
        observations, fault = self._decode(message, device)
        try:
            await self._store.commit(observations, [fault] if fault else [])
        except UnstorableBatch as exc:
            taken.counts["quarantined"] += fault is None
            await self._store.commit([], [refused(message, observations, exc)])

    def _decode(self, message: Message, device: Device) -> tuple[list[Observation], Quarantined | None]:
        found, fault = self._decoder.decode(message, lambda _: device, self._device_state.wants)
        return self._device_state.kept(found, message.received_at), fault


def _payloads(group: list[Record], most_bytes: int) -> list[bytes]:
    """The records of a station as messages: one alone, or arrays that are no larger than messages may be."""
    if len(group) == 1:
        return [orjson.dumps(group[0])]
    found: list[bytes] = []
    part: list[bytes] = []
    size = 2
    for record in group:
        text = orjson.dumps(record)
        if part and size + len(text) + 1 > most_bytes:
            found.append(b"[" + b",".join(part) + b"]")
            part, size = [], 2
        part.append(text)
        size += len(text) + 1
    return [*found, b"[" + b",".join(part) + b"]"]


def _told(stored: StoredPoll, taken: _Taken) -> State:
    key = poll_key(stored.tenant, stored.poll_id)
    return {
        "records": taken.records,
        **{name: taken.counts[name] for name in ("stored", "unchanged", "quarantined")},
        "untimed": taken.untimed,
        "unregisteredCount": len(taken.unregistered),
        "unregistered": [
            {"station": station, "address": address_of(key, station)}
            for station in list(taken.unregistered)[:_STATIONS_TOLD]
        ],
        "sample": next(iter(taken.unregistered.values()), None),
    }


def _well(
    stored: StoredPoll, state: State, validators: Validators, seen: dict[str, str] | None, now: datetime
) -> Finish:
    for name in ("error", "excerpt"):
        state.pop(name, None)
    state |= {"lastSuccessAt": to_text(now), "failures": 0}
    due = next_due(now, stored.poll.interval, 0)
    return Finish(due, state, validators.etag, validators.last_modified, seen)


def _failed(stored: StoredPoll, state: State, error: Exception, excerpt: str | None) -> Finish:
    failures = int(state.get("failures", 0)) + 1
    fetch = error if isinstance(error, FetchFailed) else None
    is_known = isinstance(error, FetchFailed | UndecodablePayload | Conflict)
    state |= {
        "outcome": "failed",
        "error": str(error) if is_known else f"{type(error).__name__}: {error}",
        "failures": failures,
        "httpStatus": fetch.status if fetch else 200 if isinstance(error, UndecodablePayload) else None,
        "excerpt": excerpt,
    }
    log.warning("poll.failed", poll=stored.poll_id, tenant=stored.tenant, error=str(error), failures=failures)
    retry_after = fetch.retry_after if fetch else None
    jitter = random.random()  # noqa: S311 - spreads attempts, guards nothing
    due = next_due(datetime.now(UTC), stored.poll.interval, failures, retry_after=retry_after, jitter=jitter)
    return Finish(due, state, stored.etag, stored.last_modified, None)
