"""What a person sees of a conversation: one block a turn, live while it is being heard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.text import Text

from edge_agent.cli.live_line import LiveLine
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from edge_agent.events import DeviceStateChanged
    from edge_agent.pipeline.report import Timings, TurnReport
    from edge_agent.runtime.pressure import PressureState

_STATE_SIGNS = {
    State.IDLE: ("○ waiting", "dim"),
    State.LISTENING: ("◌ listening", "cyan"),
    State.HEARING: ("● hearing", "bold red"),
    State.THINKING: ("◆ thinking", "yellow"),
    State.SPEAKING: ("▶ speaking", "green"),
}


class ConsoleView:
    """Prints turns; on a terminal the last line shows state and partial transcript as they change."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._line = LiveLine(self._console)
        self._state = State.IDLE
        self._muted = False
        self._partial = ""

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._line.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the live one."""
        self._console.print(Text(text, style))

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Show the state on the live line."""
        self._state, self._muted = state, muted
        if state is not State.HEARING:
            self._partial = ""
        self._refresh()

    def partial_heard(self, _turn_id: int, text: str) -> None:
        """Show the transcript so far on the live line."""
        self._partial = text
        self._refresh()

    def heard(self, report: TurnReport) -> None:
        """Print what was heard."""
        if not report.heard:
            self._console.print(Text("   you  (not understood)", "dim"))
            return
        line = Text("   you  ", "bold cyan").append(report.heard, "default")
        if report.confidence is not None:
            line.append(f"   {report.confidence:.0%}", "dim")
        self._console.print(line)

    def sentence_ready(self, _turn_id: int, sentence: str) -> None:
        """Print a sentence of the reply when it is about to be spoken."""
        self._console.print(Text(" agent  ", "bold green").append(sentence, "default"))

    def turn_ended(self, report: TurnReport) -> None:
        """Print how the turn went."""
        parts = [f"#{report.turn}"]
        if report.intent:
            parts.append(" ".join([report.intent, *(f"{name}={value}" for name, value in report.slots.items())]))
        elif report.source == "llm":
            parts.append("language model")
        if report.endpoint is not None:
            parts.append(f"ended by {report.endpoint.reason}, {report.endpoint.silence_s * 1000:.0f} ms of silence")
        parts += _durations(report.timings)
        if report.interrupted:
            parts.append("interrupted")
        if report.audio is not None:
            parts.append(str(report.audio))
        self._console.print(Text("        " + " · ".join(parts), "dim"), soft_wrap=True)

    def fault(self, message: str) -> None:
        """Say nothing: the log on standard error has it."""

    def pressure_changed(self, pressure: PressureState) -> None:
        """Print it: what the agent leaves out from now on, someone will miss."""
        self._console.print(Text(f"        pressure: {pressure}", "dim"))

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Say nothing: the log on standard error has it."""

    def _refresh(self) -> None:
        sign, style = ("✕ muted", "magenta") if self._muted else _STATE_SIGNS[self._state]
        line = Text(f"{sign} ", style).append(self._partial, "italic")
        self._line.draw(line)


def _durations(timings: Timings) -> list[str]:
    parts = []
    if timings.asr_s is not None:
        parts.append(f"heard in {timings.asr_s * 1000:.0f} ms")
    if timings.first_audio_s is not None and timings.endpoint_s is not None:
        parts.append(f"answered {(timings.first_audio_s - timings.endpoint_s) * 1000:.0f} ms after the endpoint")
    return parts


class JsonLines(SilentObserver):
    """Prints one JSON object a turn on standard output, and nothing else."""

    def turn_ended(self, report: TurnReport) -> None:
        """Print the turn."""
        print(json.dumps(report.as_json(), ensure_ascii=False), flush=True)  # noqa: T201 - this is the output
