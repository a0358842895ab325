# SPDX-License-Identifier: Apache-2.0
"""Documents of the hub's own API as models: nothing unknown in them, and what is wrong is said with its place."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from broker.errors import BadRequestData


class Section(BaseModel):
    """A document or a part of one: no member that is not known, numbers that are numbers, never changed once made."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


Model = TypeVar("Model", bound=BaseModel)


def read_document(model: type[Model], document: Any, path: str = "") -> Model:
    """``document`` as ``model``; raises :class:`BadRequestData` with the place (below ``path``) of what is wrong."""
    try:
        # As JSON: a strict model takes no list for a tuple otherwise.
        return model.model_validate_json(orjson.dumps(document))
    except ValidationError as exc:
        raise BadRequestData(_told(exc, path)) from exc


def write_document(model: BaseModel) -> dict[str, Any]:
    """The reverse of :func:`read_document`; what has its default is left out."""
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _told(error: ValidationError, path: str) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    place = f"{path}{parts}".removeprefix(".")
    if first["type"] == "extra_forbidden":
        return f"{place} is not known"
    if first["type"] == "missing":
        return f"{place} is missing"
    value = repr(first["input"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    message = first["msg"].removeprefix("Value error, ")
    return f"{place} is {shown}: {message}" if place else message
