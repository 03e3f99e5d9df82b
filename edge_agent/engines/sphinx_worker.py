"""The child process that PocketSphinx lives in, because it holds the GIL while it decodes.

Run as `python -m edge_agent.engines.sphinx_worker`; speaks `sphinx_wire` on standard input and output. It ends when its
input ends, so also when its parent dies; and if a call into PocketSphinx hangs, the kernel's alarm ends it. SIGTERM
ends it before its next line of Python, with what it was writing cleaned up.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from edge_agent.engines.sphinx_wire import Kind, Unpacker, pack

PARTIAL_EVERY_BYTES = 3_200
"""Audio between two partials: 100 ms, so that at the beginning of a pause the last word is in one."""
_READ_BYTES = 65_536
_HANG_S = 120
"""No single message takes as long; beyond it the process is stuck."""


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent, which then closes our input
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _leave)
    output = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get between the messages
    server = _Server(output)
    unpacker = Unpacker()
    while data := os.read(0, _READ_BYTES):
        unpacker.feed(data)
        while (message := unpacker.next()) is not None:
            signal.alarm(_HANG_S)
            server.handle(*message)
            signal.alarm(0)


def _leave(signal_number: int, _frame: object) -> NoReturn:
    sys.exit(128 + signal_number)


class _Server:
    def __init__(self, output: int) -> None:
        self._output = output
        self._decoder: Any = None
        self._since_partial = 0
        self._partial = ""

    def handle(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.LOAD:
            try:
                self._send(Kind.LOADED, self._load(json.loads(payload)))
            except (ImportError, OSError, RuntimeError, ValueError) as error:
                self._send(Kind.FAILED, {"reason": f"{type(error).__name__}: {error}"})
        elif kind is Kind.START:
            self._decoder.start()
            self._since_partial, self._partial = 0, ""
        elif kind is Kind.AUDIO:
            self._decoder.accept(payload)
            self._since_partial += len(payload)
            self._send(Kind.PARTIAL, {"text": self._new_partial()})
        elif kind is Kind.PREVIEW:
            self._send(Kind.FINAL, asdict(self._decoder.preview()))
        elif kind is Kind.FINISH:
            self._send(Kind.FINAL, asdict(self._decoder.finish()))

    def _new_partial(self) -> str | None:
        if self._since_partial < PARTIAL_EVERY_BYTES:
            return None
        self._since_partial = 0
        text: str = self._decoder.partial()
        if text == self._partial:
            return None
        self._partial = text
        return text

    def _load(self, wanted: dict[str, Any]) -> dict[str, Any]:
        from pocketsphinx import get_model_path

        from edge_agent.engines.sphinx_decode import UtteranceDecoder
        from edge_agent.engines.sphinx_model import compiled
        from edge_agent.grammar import Grammar

        model_dir = Path(get_model_path(), "en-us")
        if wanted["grammar"] is None:
            self._decoder = UtteranceDecoder(model_dir, None)
            return {"unpronounceable": ()}
        texts = {key: tuple(value) for key, value in wanted["grammar"].items()}
        cache_dir = Path(wanted["cache_dir"]) if wanted["cache_dir"] else None
        with compiled(Grammar(**texts), model_dir / "cmudict-en-us.dict", cache_dir) as grammar:
            self._decoder = UtteranceDecoder(model_dir, grammar)  # reads the files whole; they may go then
            return {"unpronounceable": grammar.unpronounceable}

    def _send(self, kind: Kind, content: dict[str, Any]) -> None:
        data = memoryview(pack(kind, json.dumps(content).encode()))
        while data:
            data = data[os.write(self._output, data) :]


if __name__ == "__main__":
    main()
