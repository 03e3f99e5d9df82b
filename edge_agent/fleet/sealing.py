"""Documents as they travel: read with suspicion, written with a signature where there is a key."""

from __future__ import annotations

import json
import os
import shlex
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError
from edge_agent.fleet.document import MOST_BYTES, Document
from edge_agent.fleet.errors import UnusableDocumentError
from edge_agent.fleet.plain import plain
from edge_agent.mqtt.desired import Addressee, DocumentError, read_desired
from edge_agent.mqtt.signing import KeyFormError, generate_key_pair, public_half, scope_of, sign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.fleet.target import Target

_MOST_KEY_BYTES = 1000


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Sealer:
    """Reads and writes documents.

    Attributes:
        private_key: Signs; empty: documents are unsigned.
        lasts: How long a signed document may be taken by devices.
    """

    private_key: str = field(default="", repr=False)
    lasts: timedelta = timedelta(days=365)
    clock: Callable[[], datetime] = _now

    def seal(self, document: Document, target: Target) -> bytes:
        """Return what is published.

        Raises:
            BadInputError: It is larger than devices take, or the key is none.
        """
        content: dict[str, object] = {"revision": document.revision, "patch": dict(document.patch)}
        if self.private_key:
            scope = scope_of(target.layer, target.name)
            content = sign(document.revision, document.patch, scope, self.clock() + self.lasts, self.private_key)
        payload = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        if len(payload) > MOST_BYTES:
            raise BadInputError(f"the document would have {len(payload)} bytes; devices take {MOST_BYTES}")
        return payload

    def open(self, payload: bytes, target: Target) -> Document:
        """Read what is retained for a layer; an empty payload is an empty document.

        Who signs adds only to what was signed with the same key: anything else may be a stranger's, and would be
        given the owner's signature.

        Raises:
            UnusableDocumentError: It is no document, or not one to add to.
        """
        if not payload:
            return Document()
        public_key = public_half(self.private_key) if self.private_key else ""
        try:
            desired = read_desired(payload, Addressee(target.layer, target.name, public_key))
        except DocumentError as error:
            raise UnusableDocumentError(target.topic, plain(str(error)), error.revision or 0) from error
        return Document(desired.revision, desired.patch, is_signed=desired.expires_at is not None)


def read_key(path: Path) -> str:
    """Read a private key from a file that nobody else may read. Blocking.

    Raises:
        BadInputError: It can't be read, others may read it, or it holds no key.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise BadInputError(f"{path}: others may read it; run: chmod 600 {shlex.quote(str(path))}")
            key = file.read(_MOST_KEY_BYTES).decode("ascii").strip()
        public_half(key)
    except OSError as error:
        raise BadInputError(f"{path}: can't be read: {error.strerror}; correct the path") from error
    except (UnicodeDecodeError, KeyFormError) as error:
        raise BadInputError(f"{path}: holds no private key; make one with `edge-agent fleet keygen`") from error
    return key


def write_new_key(path: Path) -> str:
    """Write a new private key to a file that must not exist yet, mode 0600; return the public one. Blocking.

    Raises:
        BadInputError: The file can't be made.
    """
    pair = generate_key_pair()
    try:
        # Made with its mode, so that there is no moment at which others may read it; never over another key.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor is no path
            file.write(f"{pair.private}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise BadInputError(f"{path}: exists already; a key is not written over, choose another name") from error
    except OSError as error:
        raise BadInputError(f"{path}: can't be written: {error.strerror}") from error
    return pair.public
