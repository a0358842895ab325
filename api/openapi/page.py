# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document as one page of plain HTML: without scripts, and without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_REF: Final = "#/components/schemas/"
_BEGIN: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title>
<link rel="icon" href="static/favicon.svg">
<link rel="stylesheet" href="static/css/reference.css">
<header>
<h1>{title} {version}: API</h1>
<p class="lead">{description}</p>
<p><a href="openapi.json">openapi.json</a> (OpenAPI {openapi}): for programs / プログラム用</p>
</header>
"""


def write_page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI ``document``: operations by tag, then schemas."""
    operations = list(_operations(document))
    info = document["info"]
    parts = [
        _BEGIN.format(
            title=escape(info["title"]),
            version=escape(info["version"]),
            description="<br>".join(escape(line) for line in info["description"].strip().splitlines()),
            openapi=escape(document["openapi"]),
        ),
        _contents(document["tags"]),
        "<main>",
        *(_section(tag, operations, document) for tag in document["tags"]),
        '<section id="schemas"><h2>Schemas / データの形</h2>',
        *(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
        "</section></main></html>",
    ]
    return "\n".join(parts)


def _operations(document: Mapping[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation with the parameters of its path)."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                parameters = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                yield method.upper(), path, {**item[method], "parameters": parameters}


def _contents(tags: Iterable[Mapping[str, str]]) -> str:
    links = "".join(f'<li><a href="#{_anchor(tag["name"])}">{escape(tag["name"])}</a>' for tag in tags)
    return f'<nav><ul>{links}<li><a href="#schemas">schemas</a></ul></nav>'


def _section(
    tag: Mapping[str, str], operations: Iterable[tuple[str, str, dict[str, Any]]], document: Mapping[str, Any]
) -> str:
    mine = [
        _operation(method, path, operation, document)
        for method, path, operation in operations
        if tag["name"] in operation["tags"]
    ]
    heading = f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
    return f'<section id="{_anchor(tag["name"])}">{heading}{"".join(mine)}</section>'


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    summary = f'<b class="{method.lower()}">{method}</b> <code>{escape(path)}</code> {escape(operation["summary"])}'
    told = f"<p>{escape(operation['description'])}</p>" if operation.get("description") else ""
    parts = [told, _parameters(operation["parameters"]), _body(operation), _answers(operation["responses"], document)]
    return f'<details id="{escape(operation["operationId"])}"><summary>{summary}</summary>{"".join(parts)}</details>'


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"<code>{escape(parameter['name'])}</code>",
            escape(parameter["in"]) + (", required" if parameter.get("required") else ""),
            _type(parameter["schema"]),
            escape(parameter.get("description", "")),
        )
        for parameter in parameters
    ]
    return _table("Parameters / パラメータ", rows)


def _body(operation: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    rows = [(f"<code>{escape(media_type)}</code>", _type(value["schema"])) for media_type, value in content.items()]
    return _table("Body / 本文", rows)


def _answers(responses: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    rows = []
    for status, response in responses.items():
        if "$ref" in response:
            response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        content = [
            f"<code>{escape(media_type)}</code> {_type(value['schema'])}"
            for media_type, value in response.get("content", {}).items()
        ]
        headers = ", ".join(f"<code>{escape(name)}</code>" for name in response.get("headers", ()))
        rows.append((escape(status), escape(response["description"]), "<br>".join(content), headers))
    return _table("Answers / 応答", rows)


def _table(title: str, rows: Iterable[tuple[str, ...]]) -> str:
    written = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h3>{title}</h3><table>{written}</table>" if written else ""


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "enum" in schema:
        return escape(" | ".join(map(str, schema["enum"])))
    if "const" in schema:
        return escape(str(schema["const"]))
    for word, joint in (("allOf", " "), ("anyOf", " or "), ("oneOf", " or ")):
        if word in schema:
            return joint.join(filter(None, map(_type, schema[word])))
    kind = schema.get("type", "")
    if kind == "array":
        inner = _type(schema.get("items", {}))
        return f"list of {inner}" if inner else "list"
    named = " or ".join(kind) if isinstance(kind, list) else kind
    return escape(" ".join(filter(None, (named, schema.get("format", "")))))


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    written = escape(json.dumps(schema, indent=2, ensure_ascii=False))
    title = escape(name)
    return f'<details id="schema-{title}"><summary><code>{title}</code></summary><pre>{written}</pre></details>'


def _anchor(tag: str) -> str:
    return escape("tag-" + tag.replace(" ", "-"))
