"""The README's first command on a machine that has nothing but Debian."""

from __future__ import annotations

import re

import pytest
from system.conftest import Computers
from system.debian_root import CHECKOUT, OWNER
from system.machine import Machine

pytestmark = [pytest.mark.system, pytest.mark.timeout(2400)]

_FIRST_S, _AGAIN_S = 1500, 120
_CONVERSATION = (
    ("what time is it", r"It's .+ [ap]\.m\."),
    ("set a timer for five minutes", r"Timer set for five minutes\."),
    ("turn on the lamp", r"The lamp is on\."),
)


def test_a_stranger_holds_a_conversation(computers: Computers) -> None:
    """What is missing is installed, three questions are answered, into files; the second time is quick."""
    overlay = computers.overlay()
    try:
        with computers.machine(overlay) as machine:
            _converse(machine, _FIRST_S)
            _converse(machine, _AGAIN_S)
            machine.power_off()
    finally:
        overlay.unmount()
        overlay.remove()


def _converse(machine: Machine, timeout_s: float) -> None:
    done = machine.run(f"cd {CHECKOUT} && ./install.sh try --small", user=OWNER, timeout_s=timeout_s)
    for number, (question, reply) in enumerate(_CONVERSATION, 1):
        place = done.stdout.find(f"You    {question}  try/question-{number}.wav")
        assert place >= 0, done.stdout
        assert re.search(rf"Agent  {reply}  try/turn-{number}\.wav", done.stdout[place:]), done.stdout
        assert machine.place(str(CHECKOUT / f"try/turn-{number}.wav")).stat().st_size > 10_000
