"""llama.cpp's library: how it is loaded, what it logs, how it is stopped."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_logger = logging.getLogger(__name__)

_GGML_ERROR = 4
_WHERE = re.compile(r"^(?:\w+: |error loading model: )*")
_SPIN_VARIABLES = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
_SPINS = "1000" if platform.machine() in {"x86_64", "AMD64"} else "20000"
"""How often a thread looks for work before it sleeps; about 0.1 ms.

The library's threads are OpenMP's. By default they look 300,000 times: after the last token on two threads that burns
10 ms of a core (measured on an EPYC), which others may hold by then. There 1,000 burn 0.1 ms and cost no speed, 100
halve it, none quarters it. On Arm a look is a few instructions, not a long `pause`.
"""


class LlamaFailure(Exception):  # noqa: N818 - internal: the adapter turns it into ModelError or GenerationError
    """llama.cpp refused; the text is its own complaint, or ours."""


class LlamaLog:
    """Routes llama.cpp's log, which belongs to the whole process, to ours.

    Keeps the first complaint, of which later ones are the echo.
    """

    def __init__(self, library: ModuleType) -> None:
        self.complaint = ""
        self._callback = library.llama_log_callback(self._take)  # C keeps no reference to it
        library.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _data: object) -> None:
        # Names from a damaged file are quoted in it, control characters and all.
        line = "".join(c if c.isprintable() else " " for c in text.decode(errors="replace")).strip()[:200]
        if not line:
            return
        _logger.debug("llama.cpp: %s", line)
        if level == _GGML_ERROR and not self.complaint:
            self.complaint = _WHERE.sub("", line)


_loaded: list[tuple[Any, LlamaLog]] = []


def library() -> tuple[Any, LlamaLog]:
    """Import llama.cpp once and take its log away from standard error.

    Raises:
        ImportError: It is not installed.
    """
    if not _loaded:
        # OpenMP reads it once, when it is loaded; child processes have no use for it.
        is_ours = _SPIN_VARIABLES.isdisjoint(os.environ)
        if is_ours:
            os.environ["GOMP_SPINCOUNT"] = _SPINS
        try:
            import llama_cpp
        finally:
            if is_ours:
                del os.environ["GOMP_SPINCOUNT"]
        _loaded.append((llama_cpp.llama_cpp, LlamaLog(llama_cpp.llama_cpp)))
        llama_cpp.llama_backend_init()
    return _loaded[0]


class StopFlag:
    """Says that one job is to stop. Any thread may set it, and native code can watch it.

    llama.cpp asks before every node of its graph whether to go on. A Python callback would take the GIL thousands of
    times a second; strlen over one byte answers the same question natively: 0 goes on, 1 aborts.
    """

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(b"\0", 2)

    @property
    def is_set(self) -> bool:
        """Whether the job is to stop."""
        return self._byte.raw[0] != 0

    @property
    def address(self) -> ctypes.c_void_p:
        """Where the byte is, as long as this object lives."""
        return ctypes.cast(self._byte, ctypes.c_void_p)

    def set(self) -> None:
        """Let the job stop."""
        self._byte[0] = b"\1"
