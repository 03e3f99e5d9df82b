"""ONNX Runtime sessions of one voice, one for each number of threads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnxruntime import InferenceSession, RunOptions, SessionOptions

    from edge_agent.runtime.ledger import ComputeGrant

_logger = logging.getLogger(__name__)

_LOG_FATAL = 4
_MOST_SESSIONS = 3
_MOST_COPIES = 2
_BLOCK_BYTES = 1 << 20
_GRAPH, _WEIGHTS, _SUMS = "voice.onnx", "voice.weights", "sums.json"
_PART = ".part-"
_SMALLEST_OUTSIDE_BYTES = "1024"


class Stopped(Exception):  # noqa: N818 - internal: the job ends quietly
    """The job is to stop."""


class RunStop:
    """Says that one job is to stop, and ends its run of the model inside the sentence. Any thread may set it."""

    def __init__(self) -> None:
        self.is_set = False
        self._options: RunOptions | None = None

    def set(self) -> None:
        """Let the job stop: a run ends before its next node."""
        self.is_set = True
        if (options := self._options) is not None:
            options.terminate = True

    def options(self) -> RunOptions:
        """Return options for a run which `set` can end."""
        import onnxruntime

        options = self._options = onnxruntime.RunOptions()
        options.log_severity_level = _LOG_FATAL
        # Whichever of the two comes second, here and in `set`, sees the other.
        if self.is_set:
            options.terminate = True
        return options


class VoiceSessions:
    """Sessions of a voice by number of threads, made when first asked for; the three last used are kept. Any thread.

    A session's threads are fixed, so that a new grant means another session. They don't spin while they wait.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._sessions: OrderedDict[int, InferenceSession] = OrderedDict()

    def get(self, threads: int) -> InferenceSession:
        """Return the session for so many threads.

        Raises:
            Exception: ONNX Runtime can't load the model; its exceptions derive from Exception alone.
        """
        import onnxruntime

        with self._lock:
            session = self._sessions.pop(threads, None)
            if session is None:
                while len(self._sessions) >= _MOST_SESSIONS:
                    self._sessions.popitem(last=False)
                session = onnxruntime.InferenceSession(
                    str(self._model), sess_options=options(threads), providers=["CPUExecutionProvider"]
                )
            self._sessions[threads] = session
            return session

    @property
    def threads(self) -> tuple[int, ...]:
        """Numbers of threads that there is a session for, the last used one last."""
        with self._lock:
            return tuple(self._sessions)


class JobSession:
    """What a job's `PiperVoice` takes for its session: runs are on the threads granted by then, and can be stopped."""

    def __init__(self, sessions: VoiceSessions, grant: ComputeGrant, stop: RunStop) -> None:
        self._sessions = sessions
        self._grant = grant
        self._stop = stop

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Any]) -> Sequence[Any]:
        """Render a sentence.

        Raises:
            Stopped: The job is to stop, and nothing was begun.
        """
        threads = self._grant.commit()
        if threads < 1 or self._stop.is_set:
            raise Stopped
        return self._sessions.get(threads).run(outputs, inputs, self._stop.options())  # type: ignore[no-any-return]


def options(threads: int) -> SessionOptions:
    """Return the settings of a session with so many threads."""
    import onnxruntime

    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = threads
    made.inter_op_num_threads = 1
    made.log_severity_level = _LOG_FATAL
    made.enable_cpu_mem_arena = False  # it keeps the longest sentence's memory, for each session, and gains no time
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return made


def lean_copy(model: Path, cache: Path) -> Path:
    """Return a copy of `model` whose weights are mapped, so that all sessions share them; or `model` itself.

    ONNX Runtime writes the optimised graph, with the weights beside it, the first time; it loads ten times faster than
    the original. With a voice of 60 MB two sessions hold 27 MB of memory instead of 190 MB (measured), beside the
    mapped weights, which the system can drop and read again. A copy is for this machine's processor and this version of
    ONNX Runtime. A damaged one is made anew; the newest two are kept. Where none can be made, that is logged.

    Raises:
        OSError: The model can't be read.
    """
    place = cache / _identity(model)
    try:
        if place.is_dir():
            if _is_whole(place):
                os.utime(place)
                return place / _GRAPH
            _logger.warning("%s is damaged: it is made anew", place)
            shutil.rmtree(place)
        cache.mkdir(parents=True, exist_ok=True)
        _make_room(cache)
        with tempfile.TemporaryDirectory(dir=cache, prefix=_PART) as part:
            _write_copy(model, Path(part))
            Path(part).rename(place)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's derive from Exception alone; a full disk is one of them
        _logger.warning("no copy of %s in %s: %s; it takes more memory without", model, cache, error)
        return model
    return place / _GRAPH


def _write_copy(model: Path, directory: Path) -> None:
    import onnxruntime

    settings = options(1)
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.optimized_model_filepath = str(directory / _GRAPH)
    settings.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
    settings.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", _SMALLEST_OUTSIDE_BYTES
    )
    onnxruntime.InferenceSession(str(model), sess_options=settings, providers=["CPUExecutionProvider"])
    (directory / _SUMS).write_text(json.dumps(_sums(directory)))
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _is_whole(place: Path) -> bool:
    try:
        return bool(_sums(place) == json.loads((place / _SUMS).read_bytes()))
    except (OSError, ValueError):
        return False  # a file is missing, or can't be read


def _sums(directory: Path) -> dict[str, list[int]]:
    """Return size and CRC-32 of the copy's files."""
    sums = {}
    for name in (_GRAPH, _WEIGHTS):
        path = directory / name
        if name == _WEIGHTS and not path.exists():
            continue  # a tiny model has no weights worth a file
        crc = 0
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                crc = zlib.crc32(block, crc)
        sums[name] = [path.stat().st_size, crc]
    return sums


def _make_room(cache: Path) -> None:
    """Remove what an interrupted write left behind, and all copies but the newest, before another one is made."""
    copies = sorted((path for path in cache.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime_ns)
    whole = [path for path in copies if not path.name.startswith(_PART)]
    for path in copies:
        if path not in whole[: _MOST_COPIES - 1]:
            shutil.rmtree(path)


def _identity(model: Path) -> str:
    import onnxruntime

    status = model.stat()
    with model.open("rb") as file:
        digest = hashlib.sha256(file.read(_BLOCK_BYTES))
    told = (status.st_size, status.st_mtime_ns, onnxruntime.__version__, platform.machine(), _processor())
    digest.update(repr(told).encode())
    return digest.hexdigest()[:32]


def _processor() -> tuple[str, ...]:
    """Return what the optimised graph may depend on: instructions decide how weights are laid out."""
    names = ("flags", "Features", "CPU implementer", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ()  # another system: machine and version have to do
    return tuple(sorted({line for line in lines if line.split("\t")[0].split(":")[0].strip() in names}))
