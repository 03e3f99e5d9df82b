"""Machines on paper for doctor's checks, and a sound system whose microphone hears its speaker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pulse_rig import PulseRig

from edge_agent.app.doctor import Surroundings
from edge_agent.devices.portaudio import refresh_devices
from edge_agent.errors import ServiceError

LOOP = "agent_loop"
"""A microphone that hears what the rig's speaker plays."""
FEED = "agent_feed"
"""A speaker whose sound the rig's microphone hears."""


def paper(
    root: Path,
    commands: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
    **fields: Any,  # noqa: ANN401 - they are handed on
) -> Surroundings:
    """Return a machine below `root`: what its commands print, by their beginning, and what its service answers."""
    told = commands or {}

    def run(command: Sequence[str]) -> str | None:
        line = " ".join(command)
        return next((text for begin, text in told.items() if line.startswith(begin)), None)

    def ask(request: Mapping[str, object]) -> Any:  # noqa: ANN401 - whatever JSON holds
        if status is None:
            raise ServiceError(root / "edge-agent.sock", "no service answers")
        assert request == {"get": "status"}
        return status

    return Surroundings(root=root, run=run, ask=ask, **fields)


def wire(rig: PulseRig) -> None:
    """Add both to the devices that programs find from now on."""
    config = Path(rig.sound_env["ALSA_CONFIG_PATH"])
    microphone_server = next(line.split('"')[1] for line in config.read_text().splitlines() if "server" in line)
    wires = ((LOOP, rig.sound_env["PULSE_SERVER"], "speaker_out.monitor"), (FEED, microphone_server, "mic_feed"))
    with config.open("a") as file:
        for name, server, device in wires:
            hint = f'hint {{ show on; description "{name}" }}'
            file.write(f'pcm.{name} {{\n type pulse\n server "{server}"\n device "{device}"\n {hint}\n}}\n')


@contextmanager
def looped(rig: PulseRig) -> Iterator[str]:
    """Give the sound system, which is in use, a microphone that hears its speaker; yield its name."""
    wire(rig)
    assert refresh_devices()
    yield LOOP
