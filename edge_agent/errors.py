"""Every error edge_agent raises on purpose, in one tree.

    EdgeAgentError
    ├── BadInputError            the user can mend it; exit status 2
    │   ├── ConfigError          one line for each wrong key
    │   ├── AudioFileError       a recording that can't be read
    │   ├── UnknownDeviceError   a device name that matches nothing
    │   ├── ModelError           a model that is absent, incomplete or corrupt
    │   ├── IntentsFileError     an intents file that does not load
    │   └── UnknownRequestError  the local socket was asked for what there is not
    └── FaultError               something failed at run time; exit status 1
        ├── EngineError          an engine broke or refused
        │   ├── RecognitionError
        │   ├── GenerationError
        │   └── SynthesisError
        ├── ToolCallError        the language model asked for what there is not
        ├── DeviceError          audio or GPIO hardware went away or said no
        ├── StoreError           the device's database can't be read or written
        ├── NetworkError         a request to another machine failed
        ├── ServiceError         no running service answers on the local socket
        ├── SocketError          the service can't have its local socket
        ├── PoolClosedError      a job was dropped because its pool closed
        ├── JobTimeoutError      a job took longer than it may, and was stopped
        ├── DependencyFailedError  a scheduled task was given up because another one failed
        ├── TaskCancelledError   a scheduled task was cancelled before it ended
        ├── TaskGraphError       tasks that can't be scheduled: a cycle, a name unknown or taken
        └── BusyError            a bounded thing was full, and the work was refused
            ├── PoolBusyError
            ├── SchedulerBusyError
            ├── ClaimBusyError   an engine still does a job that does not stop
            ├── LimitBusyError   a resource was not free in time
            └── RateLimitedError someone asked too often

Messages are one line, name the thing and say what to do. Data stays available as attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

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
            f"{name!r} matches more than one {kind}: {listed}; "
            "use more of the name, or the one below it in `edge-agent devices`"
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


class UnknownRequestError(BadInputError):
    """The local socket was asked for what there is not."""


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
    """The synthesizer failed to render a sentence; `text` is that, which no log should have."""

    def __init__(self, voice: str, text: str, reason: str) -> None:
        super().__init__(voice, f"could not render a sentence of {len(text)} characters: {reason}")
        self.text = text


class ToolCallError(FaultError):
    """A language model's call asks for what there is not; `reason` says what is wrong with it."""

    def __init__(self, call: str, reason: str) -> None:
        super().__init__(f"tool call {call[:80]!r}: {reason}")
        self.call = call
        self.reason = reason


class DeviceError(FaultError):
    """Audio or GPIO hardware is absent, went away or said no."""

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(f"{device}: {reason}")
        self.device = device
        self.reason = reason


class StalledDeviceError(DeviceError):
    """A device is open and does nothing any more."""

    def __init__(self, device: str, waited_s: float, what: str = "delivers no sound") -> None:
        super().__init__(device, f"{what} for {waited_s:.0f} s; is it still connected?")
        self.waited_s = waited_s


class StoreError(FaultError):
    """The device's database can't be read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NetworkError(FaultError):
    """A request to another machine failed.

    Attributes:
        url: Where it went, without credentials, query and fragment, which may be secret.
        status: The HTTP status, where one was got.
    """

    def __init__(self, url: str, reason: str, status: int | None = None) -> None:
        self.url = _public(url)
        super().__init__(f"{self.url}: {reason}")
        self.reason = reason
        self.status = status


class ServiceError(FaultError):
    """No running service answers on the local socket."""

    def __init__(self, socket: Path, reason: str) -> None:
        super().__init__(f"{socket}: {reason}")
        self.socket = socket
        self.reason = reason


class PoolClosedError(FaultError):
    """A job was dropped because its pool closed."""

    def __init__(self, pool: str, job: str) -> None:
        super().__init__(f"pool {pool!r} closed before {job!r} ended")
        self.pool = pool
        self.job = job


class SocketError(FaultError):
    """The service can't have its local socket."""

    def __init__(self, socket: Path, reason: str) -> None:
        super().__init__(f"{socket}: {reason}")
        self.socket = socket
        self.reason = reason


class JobTimeoutError(FaultError):
    """A job took longer than it may; it was told to stop, and its caller goes on."""

    def __init__(self, job: str, timeout_s: float) -> None:
        super().__init__(f"{job} took longer than {timeout_s:g} s and was stopped")
        self.job = job
        self.timeout_s = timeout_s


class DependencyFailedError(FaultError):
    """A scheduled task was given up because one that it depends on failed; `__cause__` is that one's error."""

    def __init__(self, task: str, dependency: str) -> None:
        super().__init__(f"task {task!r} was given up: it depends on {dependency!r}, which failed")
        self.task = task
        self.dependency = dependency


class TaskCancelledError(FaultError):
    """A scheduled task was cancelled before it ended; not to be taken for a cancellation of who waits for it."""

    def __init__(self, task: str) -> None:
        super().__init__(f"task {task!r} was cancelled")
        self.task = task


class TaskGraphError(FaultError):
    """Tasks can't be scheduled as they are, and none of them was; `names` are those at fault."""

    def __init__(self, reason: str, names: Sequence[str]) -> None:
        super().__init__(reason)
        self.names = tuple(names)


class BusyError(FaultError):
    """A bounded thing was full, and the work was refused."""

    def __init__(self, where: str, limit: int) -> None:
        super().__init__(f"{where} is full ({limit} waiting)")
        self.where = where
        self.limit = limit


class PoolBusyError(BusyError):
    """A pool's queue was full."""

    def __init__(self, pool: str, depth: int) -> None:
        super().__init__(f"pool {pool!r}", depth)


class SchedulerBusyError(BusyError):
    """Too many tasks wait for their turn."""

    def __init__(self, limit: int) -> None:
        super().__init__("the scheduler", limit)


class ClaimBusyError(BusyError):
    """An engine still does a job that does not stop, and serves one at a time."""

    def __init__(self, engine: str) -> None:
        super().__init__(f"engine {engine!r}", 1)
        self.args = (f"{engine} still does a job that does not stop; it serves one at a time",)
        self.engine = engine


class LimitBusyError(BusyError):
    """A resource was not free within the time that the caller would wait."""

    def __init__(self, resource: str, limit: int, waited_s: float) -> None:
        super().__init__(f"resource {resource!r}", limit)
        self.args = (f"{resource}: all {limit} are in use, and none came free within {waited_s:g} s",)
        self.waited_s = waited_s


class RateLimitedError(BusyError):
    """Someone asked more often than they may."""

    def __init__(self, kind: str, identity: str, retry_after_s: float) -> None:
        super().__init__(f"rate {kind!r}", 0)
        self.args = (f"{kind}: {identity!r} asks too often; again in {retry_after_s:.1f} s",)
        self.kind = kind
        self.identity = identity
        self.retry_after_s = retry_after_s


def _public(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed address"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
