# SPDX-License-Identifier: Apache-2.0
"""Secrets of others are sealed with keys that are not in the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from broker.errors import Conflict
from context_store.sealing import Sealer, UnusableKeys, read_keys

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
HEADERS = {"X-Key": "geheim"}


def test_what_is_stored_does_not_tell_and_comes_back() -> None:
    stored = Sealer([OLD]).seal(HEADERS)
    assert "geheim" not in str(stored)
    assert Sealer([OLD]).open(stored) == HEADERS


def test_without_keys_texts_are_stored_as_they_are_and_stay_readable_with_keys() -> None:
    stored = Sealer().seal(HEADERS)
    assert stored == HEADERS
    assert Sealer([OLD]).open(stored) == HEADERS


def test_a_new_key_before_the_old_one_seals_and_both_open() -> None:
    both = Sealer([NEW, OLD])
    assert both.open(Sealer([OLD]).seal(HEADERS)) == HEADERS
    assert Sealer([NEW]).open(both.seal(HEADERS)) == HEADERS


@pytest.mark.parametrize("keys", [[], [NEW]], ids=["none", "another"])
def test_a_key_that_is_missing_is_said_without_the_secret(keys: list[str]) -> None:
    with pytest.raises(Conflict, match="X-Key is sealed with a key that this hub does not have"):
        Sealer(keys).open(Sealer([OLD]).seal(HEADERS))


def test_keys_are_read_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# since May\n{NEW}\n\n{OLD}\n")
    assert read_keys(path) == [NEW, OLD]


@pytest.mark.parametrize(
    "text",
    ["", "# none\n", "short\n", f"{OLD[:-4]}\n", "鍵\n"],
    ids=["empty", "comment", "short", "cut", "no base64"],
)
def test_a_file_without_keys_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(UnusableKeys, match="keys has no keys") as caught:
        read_keys(path)
    assert OLD not in str(caught.value)
