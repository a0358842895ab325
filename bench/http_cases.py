# SPDX-License-Identifier: Apache-2.0
"""The cases of :mod:`bench.http_api`: retrieve, and Stellio's K1 to K5, each with what the ceiling is asked."""

from __future__ import annotations

from typing import Final

import orjson

from bench.http_load import Case, batches
from schemas.terms import DEFAULT_VOCABULARY

_API: Final = "/ngsi-ld/v1"
_NAMES: Final = 'local names = {"ammonium", "waterTemperature", "dissolvedOxygen"}\n'
_TEMPLATE: Final = f"local template = [==[{orjson.dumps(next(batches(1))[0]).decode()}]==]\n"
_NEW: Final = (
    "local made = 0\n"
    'local run = string.format("%d-%d", os.time(), math.random(0, 999999))\n'
    "local function new()\n"
    "  made = made + 1\n"
    '  return (template:gsub("urn:ngsi%-ld:Station:0", "urn:ngsi-ld:New:" .. run .. "-" .. made))\n'
    "end\n"
)
_PATCH: Final = """
  local body = string.format('{"value": %s, "observedAt": "%s"}', value(), now())
"""
_BARE_PATCH: Final = f"""
  local body = string.format('{{"{DEFAULT_VOCABULARY}dissolvedOxygen": {{"@none": {{"type": "Property", "value": %s, '
    .. '"observedAt": "%s", "unitCode": "M1"}}}}}}', value(), now())
"""
_ATTRIBUTES: Final = """
  local function both(name)
    return string.format('"%s": [{"type": "Property", "value": %s, "observedAt": "%s", "datasetId": '
      .. '"urn:ngsi-ld:Dataset:Bottom"}, {"type": "Property", "value": %s, "observedAt": "%s", "datasetId": '
      .. '"urn:ngsi-ld:Dataset:Surface"}]', name, value(), now(), value(), now())
  end
  local body = string.format('{%s, %s, "dissolvedOxygen": {"type": "Property", "value": %s, "observedAt": "%s"}}',
    both("ammonium"), both("waterTemperature"), value(), now())
"""
_QUERY: Final = f"""
  local name = names[math.random(#names)]
  local kind = "Station" .. math.random(0, types - 1)
  local above = math.random(0, 60)
  local bare = "/one/query?type={DEFAULT_VOCABULARY}" .. kind .. "&attribute={DEFAULT_VOCABULARY}dissolvedOxygen&above="
    .. above
  local q = name .. "%3E" .. above
"""
_BATCH: Final = (
    "local function hundred()\n"
    "  local start, items = math.random(0, entities / 100 - 1) * 100, {}\n"
    "  for i = 0, 99 do\n"
    '    items[i + 1] = template:gsub("urn:ngsi%-ld:Station:0", "urn:ngsi-ld:Station:" .. (start + i))\n'
    '      :gsub("Station0\\"", "Station" .. (start + i) % types .. "\\"")\n'
    "      :gsub('\"value\":%d+%.%d+', function() return '\"value\":' .. value() end)\n"
    '      :gsub(\'"observedAt":"[^"]*\', \'"observedAt":"@now@\')\n'
    "      :gsub('\"coordinates\":%[[^%]]*', string.format('\"coordinates\":[%.5f,%.4f', 138.9 + (start + i) / 1e5,\n"
    "        35.1 + (start + i) % 977 / 1e4))\n"
    "  end\n"
    '  return "[" .. table.concat(items, ",") .. "]"\n'
    "end\n"
    "local bodies = {}\n"  # made beforehand: the load generator must not be what is measured
    "for i = 1, 50 do bodies[i] = hundred() end\n"
)
_OF_NOW: Final = '  local body = (bodies[math.random(#bodies)]:gsub("@now@", now()))\n'


def _send(method: str, path: str) -> str:
    return f'  return wrk.format("{method}", {path}, json, body)'


CASES: Final = (
    Case(
        "GET by id",
        f'  return wrk.format("GET", "{_API}/entities/" .. id())',
        {way: f'  return wrk.format("GET", "/{way}/get/" .. id())' for way in ("one", "many")},
    ),
    Case(
        "K2 PATCH attribute",
        _PATCH + _send("PATCH", f'"{_API}/entities/" .. id() .. "/attrs/dissolvedOxygen"'),
        {way: _BARE_PATCH + _send("PATCH", f'"/{way}/patch/" .. id()') for way in ("one", "many")},
    ),
    Case(
        "K3 PATCH attrs",
        _ATTRIBUTES + _send("PATCH", f'"{_API}/entities/" .. id() .. "/attrs"'),
        {way: _ATTRIBUTES + _send("PATCH", f'"/{way}/patch/" .. id()') for way in ("one", "many")},
    ),
    Case(
        "K1 POST entity",
        "  local body = new()\n" + _send("POST", f'"{_API}/entities"'),
        {"one": "  local body = new()\n" + _send("POST", '"/one/create"')},
        _TEMPLATE + _NEW,
    ),
    Case(
        "K4 query 20 of 10,000",
        _QUERY + f'  return wrk.format("GET", "{_API}/entities?type=" .. kind .. "&q=" .. q'
        ' .. ";stationCode==%22BSS002JAWM%22")',
        {"one": _QUERY + '  return wrk.format("GET", bare)'},
        _NAMES,
    ),
    Case(
        "K5 query, relationship",
        _QUERY + f'  return wrk.format("GET", "{_API}/entities?type=" .. kind .. "&q=" .. q'
        ' .. ";servesDataset==%22urn:ngsi-ld:Dataset:" .. math.random(0, targets - 1) .. "%22")',
        {"one": _QUERY + '  return wrk.format("GET", bare)'},
        _NAMES,
    ),
    Case(
        "upsert of 100",
        _OF_NOW + _send("POST", f'"{_API}/entityOperations/upsert?options=update"'),
        {"one": _OF_NOW + _send("POST", '"/one/batch"')},
        _TEMPLATE + _BATCH,
    ),
)
