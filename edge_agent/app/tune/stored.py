"""What `tune` stores of a board, and reading it again: wholly valid and of this board, or not at all."""

from __future__ import annotations

import json
from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from edge_agent.app.tune.board import Board  # noqa: TC001 - pydantic reads annotations
from edge_agent.app.tune.errors import StoredTuneError
from edge_agent.config.section import Section
from edge_agent.errors import StoreError
from edge_agent.runtime.plan import ThreadPlan
from edge_agent.store.durable import DiskFiles

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.store.durable import DurableFiles

FILE_NAME = "tune.json"
SCHEMA = 1
_MOST_BYTES = 262_144
_MOST_THREADS = 256


class Engine(Section):
    """An engine that was measured: as it calls itself, and the version of the library behind it."""

    name: str
    version: str = ""


class LlmSpeed(Section):
    """The language model alone."""

    threads: int = Field(ge=1, le=_MOST_THREADS)
    prefill_tokens_per_s: float = Field(gt=0, allow_inf_nan=False)
    decode_tokens_per_s: float = Field(gt=0, allow_inf_nan=False)


class VoiceSpeed(Section):
    """The voice alone; a real-time factor is time of rendering by time of sound: less is faster, 1 is as it is said."""

    threads: int = Field(ge=1, le=_MOST_THREADS)
    real_time_factor: float = Field(gt=0, allow_inf_nan=False)


class Together(Section):
    """Several at once, with so many threads asked for. What did not get to a result in its time is None."""

    tts_threads: int = Field(ge=1, le=_MOST_THREADS)
    llm_threads: int = Field(ge=0, le=_MOST_THREADS)
    tts_real_time_factor: float | None = Field(None, gt=0, allow_inf_nan=False)
    decode_tokens_per_s: float | None = Field(None, ge=0, allow_inf_nan=False)
    asr_real_time_factor: float | None = Field(None, ge=0, allow_inf_nan=False)


class Measurements(Section):
    """Everything that was measured."""

    llm: tuple[LlmSpeed, ...] = ()
    tts: tuple[VoiceSpeed, ...] = ()
    asr_real_time_factor: float | None = Field(None, ge=0, allow_inf_nan=False)
    pairs: tuple[Together, ...] = ()
    """Voice and language model, by the voice's threads."""
    everything: Together | None = None
    """Recognition, voice and language model by the plan that was found."""


class Plan(Section):
    """Threads to ask for; None: what holds for every board."""

    llm: int | None = Field(None, ge=1, le=_MOST_THREADS)
    tts: int | None = Field(None, ge=1, le=_MOST_THREADS)
    tts_beside: int | None = Field(None, ge=1, le=_MOST_THREADS)


class Tuned(Section):
    """The stored document."""

    schema_version: Literal[1] = 1
    measured_at: datetime
    is_quick: bool = False
    board: Board
    asr: Engine | None = None
    llm: Engine | None = None
    tts: Engine | None = None
    measured: Measurements
    plan: Plan
    tainted: tuple[str, ...] = ()
    """Why the figures are not to be trusted: heat, low voltage."""
    notes: tuple[str, ...] = ()

    def threads(self, *, model: str | None, voice: str | None) -> ThreadPlan:
        """Return the plan as far as it was measured with that model and that voice, by their engines' names."""
        is_model = self.llm is not None and self.llm.name == model
        is_voice = self.tts is not None and self.tts.name == voice
        return ThreadPlan(
            llm=self.plan.llm if is_model else None,
            tts=self.plan.tts if is_voice else None,
            tts_beside=self.plan.tts_beside if is_voice and is_model else None,
        )


def tune_file(state: Path) -> Path:
    """Return where it is stored."""
    return state / FILE_NAME


def read_tuned(path: Path, files: DurableFiles | None = None) -> Tuned | None:
    """Return what is stored; None where nothing is. Blocking.

    Raises:
        StoredTuneError: It can't be read, or is no such document.
    """
    try:
        content = (files or DiskFiles()).read(path, _MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoredTuneError(path, f"can't be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise StoredTuneError(path, "is too large for what `edge-agent tune` writes")
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoredTuneError(path, "is not valid JSON") from error
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != SCHEMA:
        raise StoredTuneError(path, f"is of schema version {version!r}, and {SCHEMA} is known here")
    try:
        return Tuned.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise StoredTuneError(path, f"{key}: {first['msg'].lower()}") from error


def read_usable(path: Path, board: Board) -> Tuned | None:
    """Return what is stored, if it may be used on this board; None where nothing is stored. Blocking.

    Raises:
        StoredTuneError: It can't be used, and why.
    """
    tuned = read_tuned(path)
    if tuned is None:
        return None
    if other := board.differs_from(tuned.board):
        raise StoredTuneError(path, f"was measured on another board: {other}")
    if tuned.tainted:
        raise StoredTuneError(path, f"is not to be trusted: {tuned.tainted[0]}")
    return tuned


def store_tuned(path: Path, tuned: Tuned, files: DurableFiles | None = None) -> None:
    """Replace what is stored, whole or not at all. Blocking.

    Raises:
        StoreError: The disk says no.
    """
    disk = files or DiskFiles()
    temporary = path.with_name(f".{path.name}.new")
    try:
        disk.write(temporary, tuned.model_dump_json(indent=2).encode() + b"\n")
        disk.sync(temporary)
        disk.rename(temporary, path)
        disk.sync_directory(path.parent)
    except OSError as error:
        raise StoreError(path, f"can't be written: {error.strerror}") from error
