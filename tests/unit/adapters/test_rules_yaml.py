# SPDX-License-Identifier: Apache-2.0
"""Rules as YAML have the meaning they have as JSON."""

from __future__ import annotations

import pytest

from adapters.files.rules_yaml import read_yaml, write_yaml
from broker.errors import InvalidRequest

TEXT = """
# 巴川
rules:
  - id: tomoe
    name: {ja: 巴川の水位}
    enabled: true
    entities: {ids: ["urn:ngsi-ld:WaterObserved:tomoe"]}
    attribute: waterLevel
    levels:
      - {stage: danger, threshold: 3.1, from: 2026-06-01T00:00:00+09:00}
      - {stage: overflow, threshold: null}
"""


def test_a_document_is_read_with_the_types_of_json() -> None:
    (rule,) = read_yaml(TEXT.encode())["rules"]
    assert rule["levels"][0] == {"stage": "danger", "threshold": 3.1, "from": "2026-06-01T00:00:00+09:00"}
    assert rule["levels"][1]["threshold"] is None
    assert rule["name"]["ja"] == "巴川の水位"
    assert rule["enabled"] is True


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "2026-06-01"])
def test_words_stay_words(word: str) -> None:
    assert read_yaml(f"x: {word}".encode()) == {"x": word}


def test_what_is_written_is_read_as_it_was() -> None:
    document = read_yaml(TEXT.encode())
    assert read_yaml(write_yaml(document).encode()) == document
    assert "巴川" in write_yaml(document)


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x", "{a: 1", "a: !!python/object:os.system x", "\t- x"])
def test_what_is_not_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="The body is not YAML"):
        read_yaml(text.encode())


def test_the_refusal_names_the_line() -> None:
    with pytest.raises(InvalidRequest, match="line 2, column 2"):
        read_yaml(b"a: [1\nb: 2")
