"""Remote revisions that the device has accepted, tried and refused: one small file that survives a power cut."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.config.merge import canonical
from edge_agent.errors import StoreError
from edge_agent.store.durable import DiskFiles

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.store.durable import DurableFiles

Outcome = Literal["applied", "rejected", "rolled_back"]
"""What became of a document."""

FILE_NAME = "remote.json"
_MOST_FILE_BYTES = 4 << 20
"""Eighteen layers of 64 KiB each, with room to spare."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class KeptError(_Record):
    """Why a document was refused, at one key."""

    key: str
    message: str


class Accepted(_Record):
    """A layer's document in force.

    Attributes:
        signed_by: The public key that it was checked with; empty: none was set.
    """

    revision: int = Field(ge=1)
    patch: dict[str, Any]
    digest: str
    signed_by: str = ""


class Refused(_Record):
    """A document that was judged and is not to be tried again."""

    revision: int = Field(ge=1)
    digest: str
    outcome: Outcome
    errors: tuple[KeptError, ...] = ()


class LayerRecord(_Record):
    """All that is known of a layer.

    Attributes:
        seen: The highest revision that was judged; what is below is old.
    """

    seen: int = Field(0, ge=0)
    accepted: Accepted | None = None
    refused: Refused | None = None


class Trial(_Record):
    """A document that is being tried, or was when the device stopped.

    Attributes:
        attempts: How often it was begun, this time included.
    """

    scope: str
    revision: int = Field(ge=1)
    digest: str
    attempts: int = Field(ge=1)


class Latest(_Record):
    """What became of the document that was judged last; `scope` and `revision` say which, where that could be told."""

    outcome: Outcome
    scope: str = ""
    revision: int | None = None
    errors: tuple[KeptError, ...] = ()
    at: str = ""


class RemoteState(_Record):
    """Everything that is kept.

    Attributes:
        layers: By scope: fleet, group/NAME, device/ID.
        starts: How often the service was started with remote documents without having run for a while.
        not_before: When a signed document was last accepted, in seconds since 1970: a clock that says less is wrong.
    """

    version: Literal[1] = 1
    layers: dict[str, LayerRecord] = Field(default_factory=dict)
    trial: Trial | None = None
    latest: Latest | None = None
    starts: int = Field(0, ge=0)
    not_before: float = 0.0

    def record(self, scope: str) -> LayerRecord:
        """Return what is known of a layer."""
        return self.layers.get(scope) or LayerRecord()

    def with_record(self, scope: str, record: LayerRecord, **changes: object) -> RemoteState:
        """Return the state with another record of a layer, and other `changes`."""
        return self.model_copy(update={"layers": {**self.layers, scope: record}, **changes})


@dataclass(frozen=True, slots=True)
class LoadedState:
    """What was read, and what was wrong with the files, in one line each."""

    state: RemoteState
    faults: tuple[str, ...] = ()


class RevisionStore:
    """Keeps a `RemoteState`. Blocking; any thread may call, one at a time goes in.

    A state is written beside the file, synced, and renamed over it after the one before was renamed to `.old`; whenever
    the power fails, one of both is whole. The checksum tells.

    Args:
        path: The file; `.new`, `.old` and `.corrupt` are beside it.
        files: The disk.
    """

    def __init__(self, path: Path, files: DurableFiles | None = None) -> None:
        self.path = path
        self._files: DurableFiles = files or DiskFiles()
        self._new, self._old, self._corrupt = (
            path.with_name(path.name + suffix) for suffix in (".new", ".old", ".corrupt")
        )
        self._lock = threading.Lock()
        self._is_whole = True

    def load(self) -> LoadedState:
        """Return the kept state; what can't be read falls back to the one before, then to nothing, and is a fault."""
        faults: list[str] = []
        with self._lock:
            for path in (self.path, self._old):
                try:
                    content = self._files.read(path, _MOST_FILE_BYTES + 1)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    self._is_whole = self._is_whole and path != self.path
                    faults.append(f"{path}: can't be read: {error.strerror or error}")
                    continue
                state = _decode(content)
                if state is not None:
                    return LoadedState(state, tuple(faults))
                self._is_whole = self._is_whole and path != self.path
                faults.append(f"{path}: is damaged; remote changes before the last one count, if there were any")
        return LoadedState(RemoteState(), tuple(faults))

    def save(self, state: RemoteState) -> None:
        """Keep `state`; when this returns, it survives a power cut, and when it raises, the one before may be there.

        Raises:
            StoreError: The disk is full, read-only or broken.
        """
        content = _encode(state)
        with self._lock:
            try:
                self._files.write(self._new, content)
                self._files.sync(self._new)
                with contextlib.suppress(FileNotFoundError):
                    # A damaged file must not take the place of the whole one before it.
                    self._files.rename(self.path, self._old if self._is_whole else self._corrupt)
                self._files.rename(self._new, self.path)
                self._files.sync_directory(self.path.parent)
            except OSError as error:
                raise StoreError(self.path, f"can't be kept: {error.strerror or error}") from error
            self._is_whole = True


def _encode(state: RemoteState) -> bytes:
    tree = state.model_dump(mode="json")
    checksum = hashlib.sha256(canonical(tree)).hexdigest()
    return json.dumps({"sha256": checksum, "state": tree}, ensure_ascii=False, indent=1).encode()


def _decode(content: bytes) -> RemoteState | None:
    if len(content) > _MOST_FILE_BYTES:
        return None
    try:
        found = json.loads(content)
        if hashlib.sha256(canonical(found["state"])).hexdigest() != found["sha256"]:
            return None
        return RemoteState.model_validate_json(canonical(found["state"]))
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        return None
