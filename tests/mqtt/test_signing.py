"""Signatures of remote documents."""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.config.schema import Config
from edge_agent.errors import BadInputError
from edge_agent.mqtt.signing import (
    PREFIX,
    KeyFormError,
    SignatureError,
    generate_key_pair,
    public_half,
    scope_of,
    sign,
    verify,
)

KEYS = generate_key_pair()
UNTIL = datetime(2030, 1, 31, 12, tzinfo=UTC)


def document(patch: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a signed one."""
    return sign(
        7,
        patch if patch is not None else {"audio": {"volume": 40, "input_device": "grün"}},
        "pi-1",
        UNTIL,
        KEYS.private,
    )


def test_what_was_signed_is_verified_whatever_its_keys_order() -> None:
    """White space and order don't count; the document holds scope, expiry and signature."""
    signed = document()
    assert list(signed) == ["revision", "patch", "scope", "expires_at", "signature"]
    turned = dict(reversed(json.loads(json.dumps(signed, indent=4)).items()))
    verify(turned, KEYS.public)


def test_another_programs_signature_counts_too() -> None:
    """The form is what the documents say: a prefix, then compact, sorted JSON in UTF-8."""
    seed = base64.b64decode(KEYS.private)
    body = {"revision": 1, "patch": {}, "scope": "fleet", "expires_at": "2030-01-31T12:00:00Z"}
    text = '{"expires_at":"2030-01-31T12:00:00Z","patch":{},"revision":1,"scope":"fleet"}'
    raw = Ed25519PrivateKey.from_private_bytes(seed).sign(PREFIX + text.encode())
    verify({**body, "signature": base64.b64encode(raw).decode()}, KEYS.public)


def test_a_signature_of_something_else_does_not_count() -> None:
    """Without the prefix the key may sign anything and nothing of it is a document."""
    body = {"revision": 1, "patch": {}, "scope": "fleet", "expires_at": "2030-01-31T12:00:00Z"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    raw = Ed25519PrivateKey.from_private_bytes(base64.b64decode(KEYS.private)).sign(text.encode())
    with pytest.raises(SignatureError):
        verify({**body, "signature": base64.b64encode(raw).decode()}, KEYS.public)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("revision", 8),
        ("patch", {"audio": {"volume": 41}}),
        ("scope", "pi-2"),
        ("expires_at", "2031-01-31T12:00:00+00:00"),
    ],
)
def test_a_change_of_any_part_is_noticed(key: str, value: object) -> None:
    """Revision, patch, scope and expiry are all signed."""
    with pytest.raises(SignatureError, match=r"remote\.public_key"):
        verify({**document(), key: value}, KEYS.public)


def test_a_key_that_is_put_in_or_left_out_is_noticed() -> None:
    """The whole document is signed."""
    signed = document()
    with pytest.raises(SignatureError):
        verify({**signed, "more": 1}, KEYS.public)
    shorter = copy.deepcopy(signed)
    del shorter["patch"]["audio"]["volume"]
    with pytest.raises(SignatureError):
        verify(shorter, KEYS.public)


def test_every_bit_of_a_signature_counts() -> None:
    """A flipped bit anywhere makes another signature."""
    signed = document()
    raw = bytearray(base64.b64decode(signed["signature"]))
    for at in range(0, len(raw) * 8, 7):
        raw[at // 8] ^= 1 << at % 8
        with pytest.raises(SignatureError):
            verify({**signed, "signature": base64.b64encode(raw).decode()}, KEYS.public)
        raw[at // 8] ^= 1 << at % 8
    verify(signed, KEYS.public)


@pytest.mark.parametrize("signature", [None, 5, "", "x", "AAAA", "=" * 88, "A" * 87 + "\n", ["A"], "ü" * 88], ids=str)
def test_what_is_no_signature_is_refused(signature: object) -> None:
    """Of any type and form."""
    with pytest.raises(SignatureError, match="64 bytes in base64"):
        verify({**document(), "signature": signature}, KEYS.public)


def test_the_wrong_key_is_refused() -> None:
    """Somebody else's signature is none."""
    with pytest.raises(SignatureError):
        verify(document(), generate_key_pair().public)


def test_keys_have_the_form_that_the_configuration_takes() -> None:
    """The public half goes into the file as it is, belongs to the private one, and that one is never shown."""
    assert Config.model_validate({"remote": {"public_key": KEYS.public}}).remote.public_key == KEYS.public
    assert public_half(f" {KEYS.private}\n") == KEYS.public
    assert KEYS.private not in repr(KEYS)
    for wrong in ("", "x", KEYS.private[:-4]):
        with pytest.raises(KeyFormError, match="no Ed25519 private key"):
            public_half(wrong)
        with pytest.raises(KeyFormError, match="no Ed25519 public key"):
            verify(document(), wrong)


def test_an_expiry_needs_a_time_zone_and_keeps_it() -> None:
    """A local time would mean another moment on each device."""
    with pytest.raises(ValueError, match="time zone"):
        sign(1, {}, "fleet", datetime(2030, 1, 1), KEYS.private)  # noqa: DTZ001
    signed = sign(1, {}, "fleet", datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2))), KEYS.private)
    assert signed["expires_at"] == "2030-01-01T00:00:00+02:00"


def test_scopes_can_not_be_mistaken_for_each_other() -> None:
    """A device may be called like a group, but none like the fleet."""
    assert [scope_of("fleet", ""), scope_of("group", "pi-1"), scope_of("device", "pi-1")] == [
        "fleet",
        "group/pi-1",
        "pi-1",
    ]
    with pytest.raises(BadInputError, match="give it another one"):
        scope_of("device", "fleet")


def test_what_json_has_not_can_not_be_signed() -> None:
    """NaN has no form."""
    with pytest.raises(ValueError, match="JSON"):
        document({"llm": {"temperature": float("nan")}})
