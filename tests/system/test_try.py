"""The README's commands for a checkout, on a machine that has nothing but Debian."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from system.conftest import Computers
from system.debian_root import CHECKOUT, OWNER
from system.machine import Machine

pytestmark = [pytest.mark.system, pytest.mark.timeout(4800)]

_FIRST_S, _AGAIN_S = 1500, 120
_COMPILED_S, _CHECKED_S = 2700, 900
_CONVERSATION = (
    ("what time is it", r"It's .+ [ap]\.m\."),
    ("set a timer for five minutes", r"Timer set for five minutes\."),
    ("turn on the lamp", r"The lamp is on\."),
)


def test_a_stranger_holds_a_conversation(computers: Computers) -> None:
    """What is missing is installed, three questions are answered, into files; the second time is quick."""
    with _bare_debian(computers) as machine:
        _converse(machine, "--small", _FIRST_S)
        _converse(machine, "--small", _AGAIN_S)


def test_a_contributor_runs_the_checks(computers: Computers) -> None:
    """All engines are installed, llama.cpp is compiled, the same questions are answered; then checks and tests run."""
    with _bare_debian(computers) as machine:
        _converse(machine, "", _COMPILED_S)
        checks = f"cd {CHECKOUT} && ./install.sh test -q tests/pipeline/test_turn.py"
        done = machine.run(checks, user=OWNER, timeout_s=_CHECKED_S)
        assert re.search(r"^[1-9]\d* passed", done.stdout, re.MULTILINE), done.stdout


@contextmanager
def _bare_debian(computers: Computers) -> Iterator[Machine]:
    overlay = computers.overlay()
    try:
        with computers.machine(overlay) as machine:
            yield machine
            machine.power_off()
    finally:
        overlay.unmount()
        overlay.remove()


def _converse(machine: Machine, options: str, timeout_s: float) -> None:
    done = machine.run(f"cd {CHECKOUT} && ./install.sh try {options}", user=OWNER, timeout_s=timeout_s)
    for number, (question, reply) in enumerate(_CONVERSATION, 1):
        place = done.stdout.find(f"You    {question}  try/question-{number}.wav")
        assert place >= 0, done.stdout
        assert re.search(rf"Agent  {reply}  try/turn-{number}\.wav", done.stdout[place:]), done.stdout
        assert machine.place(str(CHECKOUT / f"try/turn-{number}.wav")).stat().st_size > 10_000
