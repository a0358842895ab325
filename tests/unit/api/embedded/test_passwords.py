# SPDX-License-Identifier: Apache-2.0
"""Password hashes in mosquitto's format. That mosquitto takes them is shown in tests/integration."""

from __future__ import annotations

import pytest

from api.embedded.passwords import hash_password, new_password, password_matches

# Made with mosquitto_passwd 2.0.11 for the password "minamo".
MADE_BY_MOSQUITTO = (
    "$7$101$Bvt6rPD5qjSDVkLx$K8h+WxdvZzAw3Q6LkmkrgIu40XEDudedpAwM91uhT3zU2lt7EIlMKJTXGaCAx16cPPtO99x+zSnK78CS/lEs6w=="
)


def test_a_hash_made_by_mosquitto_matches() -> None:
    assert password_matches("minamo", MADE_BY_MOSQUITTO)


def test_another_password_does_not_match() -> None:
    assert not password_matches("Minamo", MADE_BY_MOSQUITTO)


def test_our_own_hash_matches() -> None:
    assert password_matches("水面", hash_password("水面"))


def test_the_same_password_has_another_hash_each_time() -> None:
    assert hash_password("minamo") != hash_password("minamo")


def test_a_salt_makes_it_repeatable() -> None:
    assert hash_password("minamo", salt=b"twelve bytes") == hash_password("minamo", salt=b"twelve bytes")


@pytest.mark.parametrize("text", ["", "minamo", "$6$abc$def", "$7$x$AAAA$AAAA", "$7$101$***$***", "a$7$101$AAAA$AAAA"])
def test_other_formats_do_not_match(text: str) -> None:
    assert not password_matches("minamo", text)


def test_new_passwords_are_long_and_different() -> None:
    first, second = new_password(), new_password()
    assert first != second
    assert len(first) >= 43
