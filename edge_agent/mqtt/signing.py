"""Ed25519 signatures of remote documents.

What is signed is `PREFIX` and the canonical JSON of the document without its signature. `scope` says whom it was signed
for and `expires_at` until when it may be taken, so that neither another device's document nor an old one can be played
in; that an older one does not replace a newer one is the revision's work.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.config.merge import canonical
from edge_agent.errors import BadInputError, FaultError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from edge_agent.config.mqtt import Layer

PREFIX = b"edge-agent configuration document, version 1\x00"
"""Keeps a signature from being one of anything else that the key may sign."""
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64


class KeyFormError(BadInputError):
    """A key that is none."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"this is no Ed25519 {kind} key: {_KEY_BYTES} bytes in base64 are one")


class SignatureError(BadInputError):
    """A document is not signed as it must be."""


class SigningUnavailableError(FaultError):
    """The library that checks signatures is not installed."""

    def __init__(self) -> None:
        super().__init__('signatures need the package "cryptography": pip install "edge-agent[mqtt]"')


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves, in base64. The private one is shown to nobody, and no device has it."""

    private: str
    public: str

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"


def generate_key_pair() -> KeyPair:
    """Return a new pair of keys.

    Raises:
        SigningUnavailableError: The library is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise SigningUnavailableError from error
    key = Ed25519PrivateKey.generate()
    return KeyPair(_base64(key.private_bytes_raw()), _base64(key.public_key().public_bytes_raw()))


def public_half(private_key: str) -> str:
    """Return the public key that belongs to a private one.

    Raises:
        KeyFormError: It is no private key.
        SigningUnavailableError: The library is not installed.
    """
    return _base64(_private(private_key).public_key().public_bytes_raw())


def scope_of(layer: Layer, name: str) -> str:
    """Return whom a document is signed for: the device's id, group/NAME, or fleet.

    Args:
        layer: Whom it is for.
        name: The group's or the device's; of no account for the fleet.

    Raises:
        BadInputError: A device is called fleet, which would make its documents everybody's.
    """
    if layer == "fleet":
        return "fleet"
    if layer == "group":
        return f"group/{name}"
    if name == "fleet":
        raise BadInputError('a device with the device_id "fleet" can\'t have signed documents: give it another one')
    return name


def sign(revision: int, patch: Mapping[str, Any], scope: str, expires_at: datetime, private_key: str) -> dict[str, Any]:
    """Return a signed document.

    Raises:
        ValueError: `expires_at` has no time zone, or the patch holds what JSON has not.
        KeyFormError: The key is none.
        SigningUnavailableError: The library is not installed.
    """
    if expires_at.tzinfo is None:
        raise ValueError("expires_at needs a time zone")
    document = {
        "revision": revision,
        "patch": dict(patch),
        "scope": scope,
        "expires_at": expires_at.isoformat(timespec="seconds"),
    }
    signature = _private(private_key).sign(_signed_bytes(document))
    return {**document, "signature": _base64(signature)}


def verify(document: Mapping[str, Any], public_key: str) -> None:
    """Check that a document's signature was made with the private half of `public_key`.

    Raises:
        SignatureError: It was not, or there is none.
        KeyFormError: The key is none.
        SigningUnavailableError: The library is not installed.
    """
    key = _public(public_key)
    text = document.get("signature")
    signature = _bytes(text, _SIGNATURE_BYTES) if isinstance(text, str) else None
    if signature is None:
        raise SignatureError(f"the signature is none: {_SIGNATURE_BYTES} bytes in base64 are one")
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, _signed_bytes(document))
    except InvalidSignature as error:
        raise SignatureError(
            "the signature does not belong to this document and the key in remote.public_key"
        ) from error
    except ValueError as error:
        raise SignatureError(f"the document can't have been signed: {error}") from error


def _signed_bytes(document: Mapping[str, Any]) -> bytes:
    return PREFIX + canonical({key: value for key, value in document.items() if key != "signature"})


def _private(text: str) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise SigningUnavailableError from error
    raw = _bytes(text.strip(), _KEY_BYTES)
    if raw is None:
        raise KeyFormError("private")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _public(text: str) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise SigningUnavailableError from error
    raw = _bytes(text.strip(), _KEY_BYTES)
    if raw is None:
        raise KeyFormError("public")
    return Ed25519PublicKey.from_public_bytes(raw)


def _bytes(text: str, size_bytes: int) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size_bytes else None


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
