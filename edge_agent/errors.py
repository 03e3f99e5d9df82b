"""Every error edge_agent raises on purpose, in one tree.

    EdgeAgentError
    ├── BadInputError            the user can mend it; exit status 2
    │   ├── ConfigError          one line for each wrong key
    │   ├── AudioFileError       a recording that can't be read
    │   ├── UnknownDeviceError   a device name that matches nothing
    │   ├── ModelError           a model that is absent, incomplete or corrupt
    │   └── IntentsFileError     an intents file that does not load
    └── FaultError               something failed at run time; exit status 1
        ├── EngineError          an engine broke or refused
        │   ├── RecognitionError
        │   ├── GenerationError
        │   └── SynthesisError
        ├── DeviceError          audio or GPIO hardware went away or said no
        └── BusyError            a bounded queue was full

Messages are one line, name the thing and say what to do. Data stays available as attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class EdgeAgentError(Exception):
    """Root of all errors raised on purpose."""

    exit_status = 1


class BadInputError(EdgeAgentError):
    """What was asked for can't be done as written; the user can mend it."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One wrong key: `key` is its dotted path, `source` the file or variable that holds it."""

    key: str
    message: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.message}" if self.key else f"{self.source}: {self.message}"


class ConfigError(BadInputError):
    """The configuration has problems; `problems` holds all of them."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class AudioFileError(BadInputError):
    """A recording can't be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class UnknownDeviceError(BadInputError):
    """No device, or more than one (`matching`), goes by that name."""

    def __init__(self, kind: str, name: str, known: Sequence[str], matching: Sequence[str] = ()) -> None:
        listed = ", ".join(repr(entry) for entry in matching or known) or "none"
        super().__init__(
            f"{name!r} matches more than one {kind}: {listed}; use more of the name, or the number"
            if matching
            else f"no {kind} matches {name!r}; there are: {listed} (see `edge-agent devices`)"
        )
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        self.matching = tuple(matching)


class ModelError(BadInputError):
    """A model is absent, incomplete or corrupt."""

    def __init__(self, kind: str, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{kind} {path}: {reason}; {remedy}")
        self.kind = kind
        self.path = path
        self.reason = reason
        self.remedy = remedy


class IntentsFileError(BadInputError):
    """An intents file does not load."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class FaultError(EdgeAgentError):
    """Something failed while running."""


class EngineError(FaultError):
    """An engine broke, died or refused."""

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"{engine}: {reason}")
        self.engine = engine
        self.reason = reason


class RecognitionError(EngineError):
    """The recognizer could not finish an utterance."""


class GenerationError(EngineError):
    """The language model could not go on."""


class SynthesisError(EngineError):
    """The synthesizer failed to render a sentence."""

    def __init__(self, voice: str, text: str, reason: str) -> None:
        super().__init__(voice, f"could not render {text[:40]!r}: {reason}")
        self.text = text


class DeviceError(FaultError):
    """Audio or GPIO hardware is absent, went away or said no."""

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(f"{device}: {reason}")
        self.device = device
        self.reason = reason


class BusyError(FaultError):
    """A bounded queue was full and the work was refused."""

    def __init__(self, where: str, limit: int) -> None:
        super().__init__(f"{where} is full ({limit} waiting)")
        self.where = where
        self.limit = limit
