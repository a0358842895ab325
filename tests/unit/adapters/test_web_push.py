# SPDX-License-Identifier: Apache-2.0
"""Web Push: the example of RFC 8291, who the hub says it is, and what a browser's enrolment has to look like."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.channels.web_push import LARGEST_TEXT, HubKey, decode, encode, encrypt
from broker.alerts import JST
from broker.contacts import Browser, Enrolment, payload, words_of
from broker.contacts.browsers import cut
from broker.errors import BadRequestData
from broker.sections import read_document
from support.alarm_steps import step
from support.push_service import PushBrowser

SECRET = bytes(range(1, 33))
# RFC 8291, 5 and Appendix A.
PLAINTEXT = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
SEALED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3"
    "jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
BROWSER = Browser("b1", "https://push.example/x", RECEIVER, AUTH, "事務所のPC")


def test_example_of_rfc_8291_is_encrypted_as_it_says() -> None:
    sender = ec.derive_private_key(int.from_bytes(decode(SENDER), "big"), ec.SECP256R1())
    sealed = encrypt(PLAINTEXT, decode(RECEIVER), decode(AUTH), salt=decode(SALT), key=sender)
    assert encode(sealed) == SEALED


def test_nothing_of_one_message_is_used_for_the_next() -> None:
    one, other = (encrypt(PLAINTEXT, decode(RECEIVER), decode(AUTH)) for _ in range(2))
    assert one[:16] != other[:16] and one[21:86] != other[21:86]


def test_longest_message_fits_into_what_push_services_take() -> None:
    assert len(encrypt(b"x" * LARGEST_TEXT, decode(RECEIVER), decode(AUTH))) == 4096
    with pytest.raises(ValueError, match="at most"):
        encrypt(b"x" * (LARGEST_TEXT + 1), decode(RECEIVER), decode(AUTH))


def test_same_secret_is_the_same_key_and_its_token_verifies() -> None:
    assert HubKey(SECRET).public == HubKey(SECRET).public != HubKey(SECRET[::-1]).public
    browser = PushBrowser("https://push.example", HubKey(SECRET).public)
    token = HubKey(SECRET).token("https://push.example", "mailto:a@b.example", int(time.time()) + 60)
    assert browser.check_sender(f"vapid t={token}, k={browser.hub_key}")["sub"] == "mailto:a@b.example"


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_secret_that_is_no_number_of_the_group_makes_a_key_too(secret: bytes) -> None:
    assert len(decode(HubKey(secret).public)) == 65


@pytest.mark.parametrize("stage", ["caution", "danger"])
def test_message_about_an_alarm_takes_the_place_of_the_one_before(stage: str) -> None:
    def sent(kind: str) -> Any:
        facts = step(kind, stage)
        return orjson.loads(payload(BROWSER, words_of(facts, "ja", JST), {"step": facts}, None, 7))

    raised, cleared = sent("raised"), sent("cleared")
    assert raised["topic"] == cleared["topic"] and raised["message"]["tag"] == cleared["message"]["tag"]
    assert (raised["urgency"], cleared["urgency"]) == ("high", "normal")
    assert "三島大橋" in raised["message"]["title"]


def test_message_of_a_drill_names_its_tenant_and_never_replaces_that_of_the_real_alarm() -> None:
    facts = step("raised", "danger")

    def sent(browser: Browser) -> Any:
        return orjson.loads(payload(browser, words_of(facts, "ja", JST), {"step": facts}, None, 7))

    real, drill = sent(BROWSER), sent(replace(BROWSER, tenant="drill-1"))
    assert (real["message"]["tenant"], drill["message"]["tenant"]) == ("", "drill-1")
    assert real["topic"] != drill["topic"] and real["message"]["tag"] != drill["message"]["tag"]


def test_text_is_cut_at_a_character() -> None:
    assert cut("水位" * 10, 10) == "水位…" and cut("水位", 6) == "水位"


KEYS = {"p256dh": RECEIVER, "auth": AUTH}


@pytest.mark.parametrize(
    ("endpoint", "keys"),
    [
        ("ftp://push.example/x", KEYS),
        ("http://push.example/x", KEYS),
        ("https://user@push.example/x", KEYS),
        ("https:///x", KEYS),
        ("https://push.example/x", KEYS | {"p256dh": "AAAA"}),
        ("https://push.example/x", KEYS | {"auth": "AAAA"}),
        ("https://push.example/x", KEYS | {"auth": "水"}),
    ],
)
def test_enrolment_that_nothing_could_be_sent_to_is_refused(endpoint: str, keys: dict[str, str]) -> None:
    with pytest.raises(BadRequestData):
        read_document(Enrolment, {"subscription": {"endpoint": endpoint, "keys": keys}})


def test_address_of_a_browser_is_not_shown() -> None:
    assert BROWSER.shown == "事務所のPC (push.example)"
