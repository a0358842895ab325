# SPDX-License-Identifier: Apache-2.0
"""CAP messages as receivers read them: checked against both schemas, then taken apart."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lxml import etree

SCHEMAS = ("CAP-v1.2.xsd", "google_cap12_extended.xsd")
NAMESPACES = {"c": "urn:oasis:names:tc:emergency:cap:1.2"}
FOLDER = Path(__file__).parents[1] / "data" / "cap"


@cache
def schema(name: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(FOLDER / name))


class Cap:
    """A valid message. Raises AssertionError for one that is not."""

    def __init__(self, body: bytes) -> None:
        assert b"<!" not in body, "a DTD or an entity"
        self.root = etree.fromstring(body)
        for name in SCHEMAS:
            assert schema(name).validate(self.root), f"{name}: {schema(name).error_log}"

    def texts(self, path: str) -> list[str]:
        """The texts of the elements at ``path``, such as ``info/area/circle``."""
        qualified = "/".join(f"c:{part}" for part in path.split("/"))
        return [element.text or "" for element in self.root.findall(qualified, NAMESPACES)]

    def text(self, path: str) -> str:
        """The first of them."""
        return self.texts(path)[0]

    @property
    def triple(self) -> str:
        """How others refer to it."""
        return ",".join(self.text(name) for name in ("sender", "identifier", "sent"))

    @property
    def references(self) -> list[str]:
        """The triples of what it refers to."""
        return " ".join(self.texts("references")).split()
