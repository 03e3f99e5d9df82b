"""Reads desired documents: JSON of hostile origin, its form, and whether it may count here at all."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_agent.config.merge import canonical
from edge_agent.config.suggest import suggest
from edge_agent.errors import BadInputError
from edge_agent.mqtt.payload import PayloadError, read_json
from edge_agent.mqtt.signing import SignatureError, scope_of, verify

if TYPE_CHECKING:
    from edge_agent.config.merge import Tree
    from edge_agent.config.mqtt import Layer

MOST_BYTES = 65_536
"""A document may have; the whole configuration, every key set, has about 6,000."""
MOST_REVISION = 2**53
"""The largest integer up to which all are exact in every JSON reader (RFC 8259, section 6)."""
_KEYS = ("revision", "patch")
_SIGNED_KEYS = ("scope", "expires_at", "signature")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class DocumentError(BadInputError):
    """A document does not count here; `key` is the part at fault, `revision` its number where that could be read."""

    def __init__(self, key: str, message: str, revision: int | None = None) -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.key = key
        self.message = message
        self.revision = revision


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whose documents a topic brings, and how one proves itself.

    Attributes:
        layer: Whom they are for.
        name: The group's or the device's.
        public_key: Only documents signed with its private half count; empty: all do.
    """

    layer: Layer
    name: str
    public_key: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """A document that is what it says.

    Attributes:
        revision: Its number.
        patch: All that its layer overrides.
        expires_at: When it may no longer be taken; None: never.
        is_signed: By the key that is set here.
        digest: SHA-256 of the patch.
    """

    revision: int
    patch: Tree = field(repr=False)
    expires_at: datetime | None
    is_signed: bool
    digest: str


def read_desired(payload: bytes, addressee: Addressee) -> Desired:
    """Read a document and check its form and, where there is a key, its signature and scope. Its expiry is not judged.

    Raises:
        DocumentError: It does not count.
        SigningUnavailableError: There is a key, and no library to check signatures.
    """
    try:
        document = read_json(payload, most_bytes=MOST_BYTES)
    except PayloadError as error:
        raise DocumentError("", str(error)) from error
    revision = _revision(document)
    try:
        return _read(document, revision, addressee)
    except DocumentError as error:
        error.revision = revision
        raise


def digest_of(patch: Tree) -> str:
    """Return what tells one patch, which was read from JSON, from another."""
    return hashlib.sha256(canonical(patch)).hexdigest()


def _read(document: dict[str, Any], revision: int, addressee: Addressee) -> Desired:
    known = (*_KEYS, *_SIGNED_KEYS)
    for key in document:
        if key not in known:
            raise DocumentError(key[:80], f"unknown key{suggest(key[:80], known)}")
    patch = document.get("patch")
    if not isinstance(patch, dict):
        raise DocumentError("patch", "must be an object" if "patch" in document else "is missing")
    digest = digest_of(patch)
    given = [key for key in _SIGNED_KEYS if key in document]
    if addressee.public_key and not given:
        raise DocumentError("signature", "is missing: this device takes only signed documents (remote.public_key)")
    if not given:
        return Desired(revision, patch, None, is_signed=False, digest=digest)
    _check_signature(document, addressee)
    expires_at = _time(document["expires_at"])
    return Desired(revision, patch, expires_at, is_signed=bool(addressee.public_key), digest=digest)


def _check_signature(document: dict[str, Any], addressee: Addressee) -> None:
    for key in _SIGNED_KEYS:
        if not isinstance(document.get(key), str):
            raise DocumentError(key, "must be text: a signed document has scope, expires_at and signature")
    if addressee.public_key:
        try:
            verify(document, addressee.public_key)
        except SignatureError as error:
            raise DocumentError("signature", str(error)) from error
    _check_scope(document["scope"], addressee)


def _revision(document: dict[str, Any]) -> int:
    revision = document.get("revision")
    if "revision" not in document:
        raise DocumentError("revision", "is missing: a document is {revision, patch}")
    if not isinstance(revision, int) or isinstance(revision, bool) or not 0 < revision <= MOST_REVISION:
        raise DocumentError("revision", f"must be a whole number from 1 to {MOST_REVISION}")
    return revision


def _check_scope(scope: str, addressee: Addressee) -> None:
    try:
        expected = scope_of(addressee.layer, addressee.name)
    except BadInputError as error:
        raise DocumentError("scope", str(error)) from error
    if scope != expected:
        raise DocumentError("scope", f"was signed for {scope[:80]!r}, and this topic is for {expected!r}")


def _time(text: str) -> datetime:
    refusal = DocumentError("expires_at", "must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z")
    if not _TIME.fullmatch(text):
        raise refusal
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refusal from error
