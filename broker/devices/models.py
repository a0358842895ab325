# SPDX-License-Identifier: Apache-2.0
"""Device models: what all devices of one kind have in common, and how a registration builds on it.

A model holds the members of a registration that are not about one device: ``entityType``, ``attributes``, ``format``,
``profile``, ``expectedInterval``. A registration names it by ``model`` and gives only what differs:

- of ``attributes``, entries are told apart by ``field`` (and ``attribute``, where one is given): members of an entry
  take the place of the model's, null takes one away; an entry of a new field comes in addition; one whose
  ``attribute`` is null takes the field away;
- ``format`` and ``profile`` are merged member by member (RFC 7396); another format by name takes the model's place;
- ``entityType`` and ``expectedInterval`` take the place of the model's;
- ``reference`` is that of all mappings that need one and have none, ``startLevel`` that of the expected interval.

Both are kept, so that a change of the model reaches its devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.devices.documents import Reader, expand_name, identifier, parse_device
from broker.devices.model import VALUE
from broker.devices.profile import with_normal_interval
from broker.errors import BadRequestData
from broker.intake.formats import MINAMO_JSON

SHARED: Final[tuple[str, ...]] = ("entityType", "attributes", "format", "profile", "expectedInterval")
"""Members that a model may hold for its devices."""
_MEMBERS: Final = frozenset({"@context", "id", "name", "manufacturer", "description", *SHARED})
SHORT: Final[tuple[str, ...]] = ("reference", "startLevel")
"""Members of a registration that stand for one further inside."""
_MAX_TEXT: Final = 4000  # characters

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """One model; ``document`` is its JSON form with names as IRIs. Built-in ones come with the hub."""

    model_id: str
    name: str
    document: Document
    built_in: bool = False

    def shown(self) -> Document:
        """The JSON form for clients."""
        return {**self.document, "id": self.model_id, "name": self.name, "builtIn": self.built_in}


def parse_model(document: Any, *, expand: Callable[[str], str], built_in: bool = False) -> DeviceModel:
    """Read a model from its JSON form. Raises :class:`BadRequestData`.

    It is tried out as a registration: what each device has to say for itself (a reference, a start level) is lent to
    it.
    """
    if isinstance(document, dict):
        document = {name: value for name, value in document.items() if name != "builtIn"}
    reader = Reader(document, "model", _MEMBERS)
    model_id = identifier(reader.text("id"), "model.id")
    name = reader.text("name", model_id)
    for member in ("manufacturer", "description"):
        if document.get(member) is not None and len(reader.text(member)) > _MAX_TEXT:
            raise BadRequestData(f"model.{member} is longer than {_MAX_TEXT} characters")
    kept = expand_names({key: document[key] for key in document if key not in ("@context", "id", "name")}, expand)
    _try_out(kept, expand)
    return DeviceModel(model_id, name, {key: value for key, value in kept.items() if value is not None}, built_in)


def _try_out(document: Document, expand: Callable[[str], str]) -> None:
    shared = {name: document[name] for name in SHARED if document.get(name) is not None}
    attributes = shared.get("attributes") or [{"field": "placeholder", "attribute": "urn:x-minamo:placeholder"}]
    if isinstance(attributes, list):
        attributes = [_lent(mapping) for mapping in attributes]
    trial = {"entityType": "urn:x-minamo:type", **shared, "attributes": attributes}
    profile = shared.get("profile")
    if isinstance(profile, dict) and isinstance(interval := profile.get("expectedInterval"), dict):
        lent = {"startLevel": 0.0, **interval} if "active" in interval else interval
        trial["profile"] = {**profile, "expectedInterval": lent}
    try:
        parse_device({**trial, "id": "model", "entityId": "urn:x:1"}, tenant="default", tenant_id=1, expand=expand)
    except BadRequestData as exc:
        raise BadRequestData(exc.detail.replace("device.", "model.", 1)) from exc


def _lent(mapping: Any) -> Any:
    if isinstance(mapping, dict) and mapping.get("measures", VALUE) != VALUE:
        return {"reference": 0.0, **{name: value for name, value in mapping.items() if value is not None}}
    return mapping


def expand_names(document: Document, expand: Callable[[str], str]) -> Document:
    """``document`` (of a model or a device) with the names of types and attributes as IRIs."""
    expanded = dict(document)
    types = document.get("entityType")
    if types is not None:
        names = types if isinstance(types, list) else [types]
        expanded["entityType"] = [expand_name(name, "entityType", expand) for name in names]
    if isinstance(document.get("attributes"), list):
        expanded["attributes"] = [_expanded_mapping(mapping, expand) for mapping in document["attributes"]]
    return expanded


def _expanded_mapping(mapping: Any, expand: Callable[[str], str]) -> Any:
    if isinstance(mapping, dict) and isinstance(mapping.get("attribute"), str):
        return {**mapping, "attribute": expand_name(mapping["attribute"], "attribute", expand)}
    return mapping


def resolve(model: Mapping[str, Any] | None, registration: Mapping[str, Any]) -> Document:
    """The whole registration: what ``model`` says, with what ``registration`` says itself. Names are IRIs in both."""
    given = {name: value for name, value in registration.items() if value is not None}
    own = {name: value for name, value in given.items() if name != "model" and name not in SHORT}
    whole = own if model is None else _built_on(model, own)
    return _with_short(whole, given.get("reference"), given.get("startLevel"))


def _built_on(model: Mapping[str, Any], own: Document) -> Document:
    whole = {**{name: model[name] for name in SHARED if name in model}, **own}
    whole["attributes"] = _merged_mappings(model.get("attributes", []), own.get("attributes", []))
    if "format" in model or "format" in own:
        whole["format"] = _merged_format(model.get("format"), own.get("format"))
    whole["profile"] = _merged(
        with_normal_interval(model.get("profile"), model.get("expectedInterval")), own.get("profile", {})
    )
    if "expectedInterval" not in own:
        whole.pop("expectedInterval", None)
    return whole


def _with_short(whole: Document, reference: Any, start_level: Any) -> Document:
    result = dict(whole)
    mappings = whole.get("attributes")
    if reference is not None and isinstance(mappings, list):
        result["attributes"] = [_referring(mapping, reference) for mapping in mappings]
    profile = whole.get("profile")
    if start_level is not None and isinstance(profile, dict | None):
        result["profile"] = _merged(profile, {"expectedInterval": {"startLevel": start_level}})
    return result


def _referring(mapping: Any, reference: Any) -> Any:
    if isinstance(mapping, dict) and mapping.get("measures", VALUE) != VALUE and mapping.get("reference") is None:
        return {**mapping, "reference": reference}
    return mapping


def _merged_mappings(base: list[Any], own: Any) -> Any:
    if not isinstance(own, list) or not all(isinstance(mapping, dict) for mapping in own):
        return own  # whoever reads the whole says what is wrong
    found: list[Document] = [dict(mapping) for mapping in base]
    for mapping in own:
        same = [other for other in found if _is_same(other, mapping)]
        if "attribute" in mapping and mapping["attribute"] is None:
            found = [other for other in found if other not in same]
        elif same:
            found = [_merged(other, mapping) if other in same else other for other in found]
        else:
            found.append(mapping)
    return found


def _is_same(one: Document, other: Document) -> bool:
    if one.get("field") != other.get("field"):
        return False
    return other.get("attribute") in (None, one.get("attribute"))


def _merged_format(base: Any, own: Any) -> Any:
    if own is None or base is None:
        return base if own is None else own
    base, own = _format_object(base), _format_object(own)
    if not isinstance(own, dict) or own.get("name", base.get("name", MINAMO_JSON)) != base.get("name", MINAMO_JSON):
        return own
    return _merged(base, own)


def _format_object(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _merged(base: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result
