# SPDX-License-Identifier: Apache-2.0
"""Registering devices: one, or many with a result for each; and what follows for their models and entities."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import AsyncConnection

from adapters.formats.table import check_profile
from api.embedded.passwords import hash_password
from api.hub import Hub
from broker.contexts.jsonld import TermMap
from broker.devices.models import DeviceModel, parse_model
from broker.devices.records import CredentialState, DeviceRecord, Registration, read_registration, resolved_again
from broker.errors import AlreadyExists, BadRequestData, Conflict, NgsiLdError, ResourceNotFound
from broker.intake.formats import FormatProfile, parse_profile
from context_store.database import ALL_TENANTS
from context_store.devices.entities import write_device_entities
from context_store.devices.models import DeviceModelStore
from context_store.tenants import DEFAULT_TENANT
from schemas.catalogue import built_in_models
from schemas.contexts import MINAMO_CONTEXT

_MODELS: Final = DeviceModelStore()
_PASSWORD_BYTES: Final = 18
_AT_ONCE: Final = 200  # registrations in a transaction

Document = dict[str, Any]
Models = Mapping[str, DeviceModel]


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a registration: ``password`` is the new one, told this once; ``created``: it is a new device."""

    record: DeviceRecord
    created: bool
    password: str | None = None


Outcome = Registered | NgsiLdError


async def terms_for(hub: Hub, tenant_id: int, document: Mapping[str, Any]) -> TermMap:
    """The terms of the document's own context, or of the hub's."""
    return await hub.contexts.resolve(document.get("@context", MINAMO_CONTEXT), await tenant_name(hub, tenant_id))


async def tenant_name(hub: Hub, tenant_id: int) -> str:
    """The name of a tenant."""
    return DEFAULT_TENANT if tenant_id == 1 else await hub.tenants.name(tenant_id)


async def find_models(hub: Hub, connection: AsyncConnection, tenant_id: int, model_ids: list[str]) -> Models:
    """Those of the models that there are; a tenant's own one goes before a built-in one."""
    wanted = set(model_ids)
    if not wanted:
        return {}
    terms = await hub.contexts.resolve(MINAMO_CONTEXT)
    known = {
        document["id"]: parse_model(document, expand=terms.expand_term, built_in=True)
        for document in built_in_models()
        if document["id"] in wanted
    }
    return {**known, **await _MODELS.find(connection, tenant_id, sorted(wanted))}


async def read_document(hub: Hub, tenant_id: int, document: Document, models: Models) -> Registration:
    """The registration in ``document``; raises :class:`BadRequestData`."""
    model_id = document.get("model")
    if model_id is not None and (not isinstance(model_id, str) or model_id not in models):
        raise BadRequestData(f"device.model is {model_id!r}; there is no such model")
    terms = await terms_for(hub, tenant_id, document)
    found = read_registration(
        document,
        model=models[model_id] if model_id is not None else None,
        tenant=await tenant_name(hub, tenant_id),
        tenant_id=tenant_id,
        expand=terms.expand_term,
    )
    check_profile(found.device.format)
    return found


async def try_document(hub: Hub, tenant_id: int, document: Document) -> Registration:
    """The same, with the models of the tenant as they are."""
    async with hub.database.transaction(tenant_id) as connection:
        models = await find_models(hub, connection, tenant_id, _named_models([document]))
    return await read_document(hub, tenant_id, document, models)


async def register(hub: Hub, tenant_id: int, document: Document) -> Registered:
    """Register or change the device in ``document``. Raises :class:`BadRequestData`, :class:`AlreadyExists`."""
    async with hub.database.transaction(ALL_TENANTS) as connection:
        return await register_within(hub, connection, tenant_id, document)


async def register_within(hub: Hub, connection: AsyncConnection, tenant_id: int, document: Document) -> Registered:
    """The same in the caller's transaction, which has to be one over all tenants."""
    (outcome,) = await _register(hub, connection, tenant_id, [document])
    if isinstance(outcome, NgsiLdError):
        raise outcome
    return outcome


def new_password() -> str:
    """A random password for a device."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


async def register_many(hub: Hub, tenant_id: int, documents: Sequence[Document], *, dry_run: bool) -> list[Outcome]:
    """The same for many; what cannot be taken is told in its place and keeps no other back."""
    outcomes: list[Outcome] = []
    for start in range(0, len(documents), _AT_ONCE):
        part = documents[start : start + _AT_ONCE]
        try:
            outcomes += await _in_one(hub, tenant_id, part, dry_run=dry_run)
        except AlreadyExists:  # somewhere among them: each for itself
            for document in part:
                try:
                    outcomes += await _in_one(hub, tenant_id, [document], dry_run=dry_run)
                except NgsiLdError as exc:
                    outcomes.append(exc)
    return outcomes


class _TakenBack(Exception):
    """Ends a transaction of which nothing is to stay."""


async def _in_one(hub: Hub, tenant_id: int, documents: Sequence[Document], *, dry_run: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    try:
        async with hub.database.transaction(ALL_TENANTS) as connection:
            outcomes = await _register(hub, connection, tenant_id, documents)
            if dry_run:
                raise _TakenBack
    except _TakenBack:
        return [replace(found, password=None) if isinstance(found, Registered) else found for found in outcomes]
    return outcomes


async def _register(
    hub: Hub, connection: AsyncConnection, tenant_id: int, documents: Sequence[Document]
) -> list[Outcome]:
    # Over all tenants: keys and addresses are unique in the whole hub.
    ids = [document["id"] for document in documents if isinstance(document.get("id"), str)]
    known = await hub.devices.lock(connection, tenant_id, ids)
    models = await find_models(hub, connection, tenant_id, _named_models(documents))
    outcomes: list[Outcome] = []
    taken: list[Registration] = []
    for document in documents:
        try:
            registration = await read_document(hub, tenant_id, document, models)
            if any(other.device.device_id == registration.device.device_id for other in taken):
                raise BadRequestData(f"device.id is {registration.device.device_id!r}, which came already")
            outcome, registration = _decided(document, registration, known.get(registration.device.device_id))
        except NgsiLdError as exc:
            outcomes.append(exc)
            continue
        outcomes.append(outcome)
        taken.append(registration)
    if taken:
        await _save(hub, connection, taken, known, [found for found in outcomes if isinstance(found, Registered)])
    return outcomes


def _decided(
    document: Document, registration: Registration, known: DeviceRecord | None
) -> tuple[Registered, Registration]:
    """What becomes of the device, and the registration with the hash of a new password where it gets one."""
    now = datetime.now(UTC)
    password = None
    wanted = document.get("newPassword")
    if wanted and known is not None and known.is_retired(now):
        raise Conflict(f"Device {known.device.device_id} is out of service; it gets no password")
    if wanted or (wanted is None and (known is None or known.credential is CredentialState.NONE)):
        password = new_password()
        registration = replace(registration, device=registration.device.with_password_hash(hash_password(password)))
    record = replace(
        known or DeviceRecord(registration.device, created_at=now),
        device=_kept(registration, known),
        document=registration.document,
        model_id=registration.model_id,
        modified_at=now,
    )
    if password is not None:
        record = replace(record, credential=CredentialState.ACTIVE, credential_changed_at=now)
    return Registered(record, known is None, password), registration


def _kept(registration: Registration, known: DeviceRecord | None) -> Any:
    """The device with what a registration does not touch."""
    if known is None:
        return registration.device
    old = known.device
    return replace(
        registration.device,
        maintenance=old.maintenance,
        service_from=old.service_from,
        service_until=old.service_until,
    )


async def _save(
    hub: Hub,
    connection: AsyncConnection,
    taken: Sequence[Registration],
    known: Mapping[str, DeviceRecord],
    outcomes: Sequence[Registered],
) -> None:
    for registration in taken:
        before = known.get(registration.device.device_id)
        if before is not None and before.device.key != registration.device.key:
            await hub.devices.forget_key(connection, before.device.key)
    await hub.devices.save(connection, taken)
    records = [outcome.record for outcome in outcomes]
    await write_device_entities(connection, hub.writer, records, datetime.now(UTC))


def _named_models(documents: Sequence[Document]) -> list[str]:
    return [document["model"] for document in documents if isinstance(document.get("model"), str)]


async def all_models(hub: Hub, tenant_id: int) -> list[DeviceModel]:
    """The models of a tenant and the built-in ones, by id."""
    ids = [document["id"] for document in built_in_models()]
    async with hub.database.transaction(tenant_id) as connection:
        built_in = await find_models(hub, connection, tenant_id, ids)
        own = await _MODELS.all(connection, tenant_id)
    found = {**built_in, **{model.model_id: model for model in own}}
    return [found[model_id] for model_id in sorted(found)]


async def get_model(hub: Hub, tenant_id: int, model_id: str) -> DeviceModel:
    """One of them. Raises :class:`ResourceNotFound`."""
    async with hub.database.transaction(tenant_id) as connection:
        found = await find_models(hub, connection, tenant_id, [model_id])
    if model_id not in found:
        raise ResourceNotFound(f"Device model {model_id} does not exist")
    return found[model_id]


async def put_model(hub: Hub, tenant_id: int, document: Document) -> tuple[DeviceModel, bool, int]:
    """Create or change a model; returns it, whether it is new, and how many devices it has changed.

    Raises :class:`BadRequestData` when it, or what becomes of one of its devices, cannot be.
    """
    terms = await terms_for(hub, tenant_id, document)
    model = parse_model(document, expand=terms.expand_term)
    check_profile(_format_of(model), "model.format")
    async with hub.database.transaction(tenant_id) as connection:
        records = await hub.devices.lock_of_model(connection, tenant_id, model.model_id)
        is_new = await _MODELS.put(connection, tenant_id, model)
        await _reach(hub, connection, tenant_id, records, model)
    return model, is_new, len(records)


async def delete_model(hub: Hub, tenant_id: int, model_id: str) -> None:
    """Remove a model. Raises :class:`ResourceNotFound`, and :class:`Conflict` while a device has it."""
    async with hub.database.transaction(tenant_id) as connection:
        records = await hub.devices.lock_of_model(connection, tenant_id, model_id)
        await _MODELS.delete(connection, tenant_id, model_id)
        if not records:
            return
        behind = await find_models(hub, connection, tenant_id, [model_id])  # the built-in one of that name
        if model_id not in behind:
            first = records[0].device.device_id
            raise Conflict(f"Device model {model_id} has {len(records)} devices, {first} among them")
        await _reach(hub, connection, tenant_id, records, behind[model_id])


async def _reach(
    hub: Hub, connection: AsyncConnection, tenant_id: int, records: Sequence[DeviceRecord], model: DeviceModel
) -> None:
    """Let the model's devices be what they come to with it now."""
    tenant = await tenant_name(hub, tenant_id)
    changed = []
    for record in records:
        try:
            changed.append(resolved_again(record, model, tenant))
            check_profile(changed[-1].format)
        except BadRequestData as exc:
            raise BadRequestData(f"Device {record.device.device_id} cannot be with this model: {exc.detail}") from exc
    if changed:
        await hub.devices.save_effective(connection, changed)


def _format_of(model: DeviceModel) -> FormatProfile:
    return parse_profile(model.document.get("format"), "model.format")
