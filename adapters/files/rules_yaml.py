# SPDX-License-Identifier: Apache-2.0
"""Alert rules as YAML: for people who keep them in a file, comment them and compare versions.

Read with the meaning of JSON: only ``true`` and ``false`` are booleans, times stay text, and anchors are refused (a few
lines of them can stand for gigabytes).
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from broker.errors import InvalidRequest

YAML: Final = "application/yaml"


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # it has no type information
    """YAML 1.1 without its surprises."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node that is no alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken")
        return super().compose_node(parent, index)


_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_BOOLEAN: Final = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag not in (_TIMESTAMP, _BOOLEAN)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile("^(?:true|false)$"), list("tf"))


def read_yaml(text: bytes) -> Any:
    """The document in ``text``. Raises :class:`InvalidRequest` with the line of what is wrong."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader with less
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidRequest(f"The body is not YAML: {where}{getattr(exc, 'problem', None) or exc}") from exc


def write_yaml(document: Any) -> str:
    """``document`` in the order of its members."""
    text: str = yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=100)
    return text
