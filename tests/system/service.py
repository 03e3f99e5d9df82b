"""The installed service on a booted machine, as its owner sees it."""

from __future__ import annotations

import json
from typing import Any

from system.machine import Machine
from system.sound import Room

UNIT = "edge-agent"
WHEELHOUSE = "/var/cache/wheelhouse"
OPTIONS = f"--wheelhouse {WHEELHOUSE} --no-models"
"""Of install.sh in these tests. Models are not what they prove, and gigabytes."""

COMMAND, ANSWER = "set the volume to fifty percent", "volume fifty percent"
"""It may be said again and again, and PocketSphinx is sure of it: of the same without "set the" it did not hear one
in six, or one in three, depending on the sample that the recording began with."""

START_S = 120
"""The unit's own start time-out."""


class Service:
    """What is asked of `edge-agent.service`.

    Attributes:
        machine: That it runs on.
        room: With the machine's microphone and speaker.
    """

    def __init__(self, machine: Machine, room: Room) -> None:
        self.machine = machine
        self.room = room

    def wait_until_active(self, timeout_s: float = START_S) -> float:
        """Wait until systemd calls it active, which it does when audio flows; return how long that took."""
        return self.machine.wait_for(lambda: self.state() == "active", "an active service", timeout_s)

    def state(self) -> str:
        """Return the unit's ActiveState."""
        return self.show("ActiveState")["ActiveState"]

    def show(self, *properties: str) -> dict[str, str]:
        """Return properties of the unit."""
        return self.machine.show(UNIT, *properties)

    def main_pid(self) -> int:
        """Return the main process's number in the machine; 0 where there is none."""
        return int(self.show("MainPID")["MainPID"])

    def restarts(self) -> int:
        """Return how often systemd has started it again."""
        return int(self.show("NRestarts")["NRestarts"])

    def configure(self, section: str, *lines: str) -> None:
        """Add lines to a section of the configuration, which is there already."""
        place = self.machine.place("/etc/edge-agent/config.toml")
        text = place.read_text(encoding="utf-8")
        assert f"\n[{section}]\n" in text
        place.write_text(text.replace(f"\n[{section}]\n", "\n".join([f"\n[{section}]", *lines, ""])), encoding="utf-8")

    def status(self) -> dict[str, Any]:
        """Return what `edge-agent status --json` prints."""
        found = json.loads(self.machine.says("edge-agent status --json"))
        assert isinstance(found, dict)
        return found

    def log(self, since: str = "") -> str:
        """Return what the journal has of it, a message a line."""
        return "\n".join(str(entry.get("MESSAGE")) for entry in self.machine.journal(UNIT, since=since))

    def wait_for_log(self, text: str, timeout_s: float, since: str = "") -> float:
        """Wait until the journal holds a text; return how long that took."""
        return self.machine.wait_for(lambda: text in self.log(since), f"{text!r} in the journal", timeout_s)

    def answers(self) -> None:
        """Speak a command, once; what the speaker says must be its answer."""
        since = self.machine.cursor()
        said = self.room.answer_to(COMMAND)
        assert said == ANSWER, f"{said!r} was said; {self.log(since)}"

    def wait_for_turns(self, count: int, timeout_s: float, since: str = "") -> list[dict[str, Any]]:
        """Wait until so many turns have ended; return their entries in the journal."""

        def ended() -> list[dict[str, Any]]:
            return [
                entry for entry in self.machine.journal(UNIT, since=since) if entry.get("EDGE_STAGE") == "turn.ended"
            ]

        self.machine.wait_for(lambda: len(ended()) >= count, f"turn {count}", timeout_s)
        return ended()
