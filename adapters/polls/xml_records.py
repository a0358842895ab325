# SPDX-License-Identifier: Apache-2.0
"""Records of an XML document, by paths as XPath writes them: ``station/obs``, ``//obs``, ``*``, ``obs[@kind='level']``.

Paths begin below the root element; prefixes and namespaces do not count. A field is ``@attribute``, ``element``,
``element/@attribute``, ``.`` (the record's own text), ``../@attribute`` or ``../element`` of what is around the record.

The parser takes no document type and so no entities of its own: nothing expands, nothing is fetched.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat

from adapters.formats.documents import plain_value
from broker.intake.polls import PollFormat
from broker.intake.readings import UndecodablePayload

_MAX_DEPTH: Final = 50
_MAX_FIELDS: Final = 1_000
_DECLARATION: Final = re.compile(rb"""<\?xml\s[^>]{0,80}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_OF_THE_PARSER: Final = frozenset({"", "utf-8", "utf-16", "iso-8859-1", "us-ascii"})
# What is called Shift_JIS has the characters of cp932 in it.
_SHIFT_JIS: Final = dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j", "cp932"), "cp932")
_STEP: Final = re.compile(r"(\*|[^/\[\]@*]+)(?:\[@([^=\]]+)=(?:'([^']*)'|\"([^\"]*)\")\])?")


@dataclass(slots=True, eq=False)
class Element:
    """An element with its own text; names are without prefixes."""

    name: str
    attributes: dict[str, str]
    parent: Element | None
    texts: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text directly in it."""
        return "".join(self.texts).strip()

    def below(self) -> Iterator[Element]:
        """All elements in it, in the order of the document."""
        waiting = self.children[::-1]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += element.children[::-1]


def read(body: bytes, format: PollFormat) -> tuple[list[dict[str, Any]], Callable[[str], Any]]:
    """The records in ``body``; raises :class:`UndecodablePayload`."""
    root = parse(body, format.encoding)
    found = select(root, format.records) if format.records else [root]
    if not found:
        raise UndecodablePayload(f"there is nothing at {format.records}")
    around: dict[Element | None, dict[str, Any]] = {}
    return [fields(element, around) for element in found], lambda path: look(root, path)


def _declared(body: bytes) -> str:
    """The encoding that the document itself names, where the parser does not know it; empty: it does."""
    found = _DECLARATION.match(body)
    name = found[1].decode().lower() if found else ""
    return "" if name in _OF_THE_PARSER else _SHIFT_JIS.get(name, name)


def parse(body: bytes, encoding: str = "utf-8") -> Element:
    """The root element; another ``encoding`` than UTF-8 holds against what the document says.

    Raises :class:`UndecodablePayload`, also for a document with a type or entities of its own.
    """
    if encoding == "utf-8":
        encoding = _declared(body)
    try:
        body, declared = (body.decode(encoding).encode(), "utf-8") if encoding else (body, None)
    except (ValueError, LookupError) as exc:
        raise UndecodablePayload(f"the document is not text in {encoding}: {exc}") from exc
    parser = expat.ParserCreate(declared)
    top = Element("", {}, None)
    open_elements = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_elements) > _MAX_DEPTH:
            raise UndecodablePayload(f"the document is more than {_MAX_DEPTH} elements deep")
        plain = {key.rpartition(":")[2]: value for key, value in attributes.items() if not key.startswith("xmlns")}
        element = Element(name.rpartition(":")[2], plain, open_elements[-1])
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_name: str) -> None:
        open_elements.pop()

    def refuse(*_: Any) -> int:
        raise UndecodablePayload("the document has a type or entities of its own (DOCTYPE), which are not taken")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: open_elements[-1].texts.append(text)
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as exc:
        if isinstance(exc, UndecodablePayload):
            raise
        raise UndecodablePayload(f"the document is not XML: {exc}") from exc
    root = top.children[0]
    root.parent = None
    return root


def select(root: Element, path: str) -> list[Element]:
    """The elements at ``path`` below ``root``, in the order of the document. Raises :class:`UndecodablePayload`."""
    found, deep = [root], False
    for step in path.removeprefix("./").split("/"):
        if not step:
            deep = True
            continue
        matched = _STEP.fullmatch(step)
        if matched is None:
            raise UndecodablePayload(f"{path!r} is no path of elements: {step!r}")
        name, attribute, *values = matched.groups()
        wanted = next((value for value in values if value is not None), None)
        candidates = dict.fromkeys(
            child for element in found for child in (element.below() if deep else element.children)
        )
        found = [
            child
            for child in candidates
            if name in ("*", child.name) and (attribute is None or child.attributes.get(attribute) == wanted)
        ]
        deep = False
    return found


def look(root: Element, path: str) -> Any:
    """The text or the attribute (``a/b/@c``) at ``path``; None when there is none."""
    way, _, attribute = path.rpartition("@") if "@" in path.rpartition("/")[2] else (path, "", "")
    found = select(root, way.rstrip("/")) if way.rstrip("/") else [root]
    if not found:
        return None
    return plain_value(found[0].attributes.get(attribute, "") if attribute else found[0].text)


def fields(record: Element, around: dict[Element | None, dict[str, Any]]) -> dict[str, Any]:
    """What ``record`` says, by paths, and with ``../`` what is around it, which ``around`` keeps for its siblings."""
    said = _own(record)
    waiting = [(child, child.name) for child in reversed(record.children)]
    while waiting:
        child, path = waiting.pop()
        for name, value in _own(child).items():
            said.setdefault(path if name == "." else f"{path}/{name}", value)
        waiting += [(inner, f"{path}/{inner.name}") for inner in reversed(child.children)]
        if len(said) > _MAX_FIELDS:
            raise UndecodablePayload(f"a record has more than {_MAX_FIELDS} values")
    outside = dict(_around(record.parent, around))
    for name in _own(record):  # a record that is the only one of its name is not around itself
        outside.pop(f"../{record.name}" if name == "." else f"../{record.name}/{name}", None)
    return outside | said


def _own(element: Element) -> dict[str, Any]:
    """Its attributes, and its text as ``.`` where it has one or is empty."""
    said = {f"@{name}": plain_value(value) for name, value in element.attributes.items()}
    if element.text or not (element.children or element.attributes):
        said["."] = plain_value(element.text)
    return said


def _around(element: Element | None, known: dict[Element | None, dict[str, Any]]) -> dict[str, Any]:
    """What ``element`` and those around it say to what is in it: attributes, and texts of elements named but once."""
    if element is None:
        return {}
    if element not in known:
        counts = Counter(child.name for child in element.children)
        said = {f"../@{name}": plain_value(value) for name, value in element.attributes.items()}
        for child in element.children:
            if counts[child.name] == 1 and not child.children:
                own = _own(child).items()
                said |= {f"../{child.name}" if name == "." else f"../{child.name}/{name}": value for name, value in own}
        outer = _around(element.parent, known).items()
        known[element] = {f"../{name}": value for name, value in outer} | said
    return known[element]
