# SPDX-License-Identifier: Apache-2.0
"""Signatures in the form of Standard Webhooks."""

from __future__ import annotations

from adapters.channels.signing import signature_headers


def test_signature_is_that_of_the_specification() -> None:
    """The example in the README of github.com/standard-webhooks/standard-webhooks and of its libraries' tests."""
    headers = signature_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_other_secrets_are_taken_as_they_are() -> None:
    plain, odd = (signature_headers(secret, "1", 0, b"x") for secret in ("whsec_no base64!", "whsec_no base64?"))
    assert plain["Webhook-Signature"] != odd["Webhook-Signature"]
