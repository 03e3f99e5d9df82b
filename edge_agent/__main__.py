"""`edge-agent` and `python -m edge_agent`."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from typing import NoReturn

_TWICE_S = 1.0


def main() -> None:
    """Run the command line and exit with its status."""
    _open_standard_streams()
    signal.signal(signal.SIGTERM, _leave)
    from edge_agent.cli.main import run

    sys.exit(run())


def _leave(number: int, _frame: object) -> NoReturn:
    """Leave as after Ctrl-C, so that no child is left behind and no file, instead of at once.

    While an event loop runs, its own handler comes first (`runtime.loop`).
    """
    signal.signal(number, partial(_insist, time.monotonic()))
    raise SystemExit(128 + number)


def _insist(asked_at_s: float, number: int, _frame: object) -> None:
    """End at once where somebody asks again; `timeout` sends the signal twice, which is once."""
    if time.monotonic() - asked_at_s > _TWICE_S:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _open_standard_streams() -> None:
    """Give a stream that the caller closed to /dev/null: else the next file opened takes its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
