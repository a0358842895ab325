# SPDX-License-Identifier: Apache-2.0
"""What of JSON a client may send."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.http.json_bodies import MAX_DEPTH, parse_body
from broker.errors import BadRequestData, InvalidRequest


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"[]" + b"}" * (levels - 1)


def test_what_is_no_json_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        parse_body(b'{"a": ')


@pytest.mark.parametrize("text", [rb'"\u0000"', rb'{"a": [{"b": "x\u0000y"}]}', rb'{"\u0000": 1}'])
def test_a_nul_character_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequestData, match="NUL"):
        parse_body(text)


def test_a_backslash_before_the_same_letters_is_text() -> None:
    assert parse_body(rb'"\\u0000"') == "\\u0000"


def test_as_many_levels_as_are_allowed_are_read() -> None:
    body: Any = parse_body(nested(MAX_DEPTH))
    assert orjson.dumps(body) == nested(MAX_DEPTH)


def test_one_level_more_is_refused() -> None:
    with pytest.raises(BadRequestData, match=f"{MAX_DEPTH} levels"):
        parse_body(nested(MAX_DEPTH + 1))


def test_many_objects_beside_each_other_are_not_deep() -> None:
    text = b"[" + b",".join([b"{}"] * 1000) + b"]"
    assert len(parse_body(text)) == 1000
