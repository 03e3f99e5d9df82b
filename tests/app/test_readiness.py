"""When the service is ready, and what its status line says."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.app.readiness import Readiness, View, status_line
from edge_agent.runtime.notify import Notifier


@pytest.mark.parametrize(
    ("view", "line"),
    [
        (View(is_warm=True), "opening the microphone"),
        (View(microphone="USB", is_warm=True), "listening on USB"),
        (View(microphone="USB"), "listening on USB; loading the language model"),
        (View(microphone="USB", is_muted=True, is_warm=True), "microphone muted: USB"),
        (View(trouble="no microphone matches 'USB'", is_warm=True), "deaf: no microphone matches 'USB'"),
        (
            View(microphone="USB", is_warm=True, broker="hub:1883", pressure="hot (temperature)"),
            "listening on USB; broker hub:1883 not reachable; pressure hot (temperature)",
        ),
        (View(microphone="USB", is_warm=True, verdict="it hangs"), "not alive: it hangs; listening on USB"),
        (
            View(microphone="USB", is_warm=True, changing="voice", notice="the file is wrong"),
            "changing the configuration: voice; listening on USB; the file is wrong",
        ),
    ],
)
def test_the_status_says_in_words_what_goes_on(view: View, line: str) -> None:
    """The most important comes first."""
    assert status_line(view) == line


class Told(Notifier):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[str] = []
        self.takes = True

    def _send(self, *lines: str) -> bool:
        if self.takes:
            self.told.append(" ".join(lines))
        return self.takes


class FewFigures:
    """An agent as far as readiness looks at it."""

    def __init__(self) -> None:
        self.is_warm = False
        self.trouble = ""
        self.frames_heard = 0
        self.pressure = None
        self.microphone: str | None = None
        self.book = self

    def link_is_well(self) -> bool | None:
        """There is no broker."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return the status."""
        return {"broker": None, "muted": False, "audio": {"microphone": self.microphone}}


@pytest.fixture
def agent() -> Any:  # noqa: ANN401 - a double of a part of a large class
    """An agent that has just been opened."""
    return FewFigures()


def test_it_is_ready_when_all_is_warm_and_sound_flows(agent: Any) -> None:  # noqa: ANN401
    """Neither alone is enough."""
    notifier = Told()
    readiness = Readiness(notifier)
    readiness.look(100.0)
    assert notifier.told == ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=loading recognizer, voice and wake word"]
    readiness.attend(agent)
    agent.microphone = "USB"
    agent.frames_heard = 500
    readiness.look(101.0)
    assert not readiness.is_ready, "the language model is not there"
    agent.is_warm, agent.frames_heard = True, 9
    readiness.look(102.0)
    assert not readiness.is_ready, "too little sound"
    agent.frames_heard = 10
    readiness.look(103.0)
    readiness.look(104.0)
    assert readiness.is_ready
    assert notifier.told[2:] == [
        "STATUS=listening on USB; loading the language model",
        "STATUS=listening on USB",
        "READY=1 STATUS=listening on USB",
    ]


def test_without_a_microphone_it_is_ready_and_deaf(agent: Any) -> None:  # noqa: ANN401
    """No restart brings a microphone: the first attempt has to fail, and that is all."""
    notifier = Told()
    readiness = Readiness(notifier)
    readiness.attend(agent)
    agent.is_warm = True
    readiness.look(0.0)
    assert not readiness.is_ready
    agent.trouble = "no microphone matches 'USB'"
    readiness.look(1.0)
    assert notifier.told[-1] == "READY=1 STATUS=deaf: no microphone matches 'USB'"
    agent.trouble, agent.microphone = "", "USB"
    readiness.look(2.0)
    assert notifier.told[-1] == "STATUS=listening on USB"


def test_time_is_asked_for_while_it_loads_and_not_for_ever(agent: Any) -> None:  # noqa: ANN401
    """A load that hangs runs into the manager's own timeout in the end."""
    notifier = Told()
    readiness = Readiness(notifier)
    readiness.attend(agent)
    asked = []
    for now_s in range(1, 2000):
        before = notifier.told.count("EXTEND_TIMEOUT_USEC=60000000")
        readiness.look(float(now_s))
        if notifier.told.count("EXTEND_TIMEOUT_USEC=60000000") > before:
            asked.append(now_s)
    assert asked[:3] == [1, 11, 21]
    assert 800 <= asked[-1] <= 841


def test_a_manager_that_did_not_take_it_is_told_again(agent: Any) -> None:  # noqa: ANN401
    """READY=1 that got lost would let the start run into its timeout."""
    notifier = Told()
    readiness = Readiness(notifier)
    readiness.attend(agent)
    agent.is_warm, agent.frames_heard, agent.microphone = True, 50, "USB"
    notifier.takes = False
    readiness.look(1.0)
    assert not readiness.is_ready
    notifier.takes = True
    readiness.look(2.0)
    assert readiness.is_ready
    assert notifier.told == ["READY=1 STATUS=listening on USB"]


def test_a_change_is_a_reload_that_ends(agent: Any) -> None:  # noqa: ANN401
    """RELOADING=1 when it begins, READY=1 when it has ended, in whatever way; nothing before the start is done."""
    notifier = Told()
    readiness = Readiness(notifier)
    readiness.attend(agent)
    agent.on_changing("voice")
    agent.on_changing("")
    assert notifier.told == []
    agent.is_warm, agent.frames_heard, agent.microphone = True, 50, "USB"
    readiness.look(1.0)
    agent.on_changing("voice")
    agent.on_changing("")
    readiness.end("ending")
    agent.on_changing("voice")
    assert notifier.told == [
        "READY=1 STATUS=listening on USB",
        "RELOADING=1 STATUS=changing the configuration: voice; listening on USB",
        "READY=1 STATUS=listening on USB",
        "STOPPING=1 STATUS=ending",
    ]


async def test_where_nobody_asks_nothing_runs() -> None:
    """Started by hand."""
    await Readiness(Notifier(None)).run_loop()
