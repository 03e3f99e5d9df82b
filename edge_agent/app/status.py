"""What a running service tells of itself, on the local socket and later by MQTT."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from edge_agent import __version__
from edge_agent.app.device_account import DeviceAccount
from edge_agent.events import DeviceState
from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.app.brain import Brain
    from edge_agent.app.mouth import Mouth
    from edge_agent.app.voice import Voice
    from edge_agent.devices.microphone import Microphone
    from edge_agent.devices.sound_watch import SoundWatch
    from edge_agent.events import DeviceStateChanged
    from edge_agent.pipeline.commands import State
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.pool import PoolStatistics

_FAULTS = 10


class StatusBook(SilentObserver):
    """Counts turns and faults as they happen. Belongs to the loop.

    Attributes:
        microphone: How it is, for whoever keeps it open to write into.
    """

    def __init__(self) -> None:
        self.microphone = DeviceAccount("microphone", DeviceState.OPENING)
        self.state = "starting"
        self.muted = False
        self._turns = self._interrupted = self._by_intent = self._by_model = self._faults = 0
        self._recent: deque[tuple[float, str]] = deque(maxlen=_FAULTS)
        self._microphone: Microphone | None = None
        self._sound: SoundWatch | None = None
        self._lost_before = self._overflows_before = 0
        self.reopened = -1
        self.engines: dict[str, str] = {}
        self._mouth: Mouth | None = None
        self.on_change: Callable[[], None] = lambda: None
        """Is told of what no observer is told of: that a microphone was opened or closed. To be set."""
        self.broker: Callable[[], Mapping[str, Any]] | None = None
        """Tells of the connection to the broker; None where there is none to be. To be set."""
        self.watchdog: Callable[[], Mapping[str, Any]] | None = None
        """Tells how the service manager's watchdog is fed; None where the agent is no service. To be set."""

    def know(self, voice: Voice, brain: Brain, mouth: Mouth) -> None:
        """The engines are loaded."""
        self.engines = {"asr": voice.recognizer.name, "tts": voice.synthesizer.name}
        if brain.model is not None:
            self.engines["llm"] = brain.model.name
        self._mouth = mouth

    def hear(self, microphone: Microphone | None, sound: SoundWatch | None = None) -> None:
        """A microphone was opened, whose sound is judged there; or the one there was is closed."""
        if self._microphone is not None:
            self._lost_before += self._microphone.dropped_frames
            self._overflows_before += self._microphone.overflows
        self._sound = sound or self._sound
        self._microphone = microphone
        self.reopened += microphone is not None
        self.on_change()

    def channels(self) -> tuple[ChannelStatistics, ...]:
        """Return the open microphone's channel."""
        return () if self._microphone is None else (self._microphone.channel,)

    def threads(self) -> tuple[PoolStatistics, ...]:
        """Return the open microphone's own thread."""
        thread = None if self._microphone is None else self._microphone.thread
        return () if thread is None else (thread,)

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Note the state."""
        self.state, self.muted = state.value, muted

    def turn_ended(self, report: TurnReport) -> None:
        """Count the turn."""
        self._turns += 1
        self._interrupted += report.interrupted
        self._by_intent += report.source == "intent"
        self._by_model += report.source == "llm"

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Tell that the status is another one."""
        self.on_change()

    def fault(self, message: str) -> None:
        """Remember a fault."""
        self._faults += 1
        self._recent.append((time.monotonic(), message))

    def describe(self) -> dict[str, Any]:
        """Return state, version, engines, audio and its trouble, counters and the last faults, as plain data."""
        now_s = time.monotonic()
        return {
            "state": self.state,
            "muted": self.muted,
            "version": __version__,
            "engines": self.engines,
            "broker": None if self.broker is None else self.broker(),
            "watchdog": None if self.watchdog is None else self.watchdog(),
            "audio": {**self._describe_microphone(), **self._describe_speaker()},
            "trouble": {
                "microphone": self.microphone.reason,
                "speaker": "" if self._mouth is None else self._mouth.account.reason,
            },
            "counters": {
                "turns": self._turns,
                "answered_by_intent": self._by_intent,
                "answered_by_model": self._by_model,
                "interrupted": self._interrupted,
                "faults": self._faults,
            },
            "faults": [{"message": text, "age_s": round(now_s - at_s, 1)} for at_s, text in self._recent],
        }

    def _describe_microphone(self) -> dict[str, Any]:
        microphone, sound, account = self._microphone, self._sound, self.microphone
        return {
            "microphone": None if microphone is None else microphone.name,
            "microphone_state": account.state.value,
            "microphone_for_s": round(account.for_s, 1),
            "microphone_reopened": max(0, self.reopened),
            "frames_lost": self._lost_before + (0 if microphone is None else microphone.dropped_frames),
            "overflows": self._overflows_before + (0 if microphone is None else microphone.overflows),
            "silent_s": 0.0 if sound is None else round(sound.silent_s, 1),
            "clipped_percent": 0.0 if sound is None else round(100 * sound.clipped_share, 2),
            "offset_percent": 0.0 if sound is None else round(100 * sound.offset, 1),
        }

    def _describe_speaker(self) -> dict[str, Any]:
        mouth = self._mouth
        if mouth is None:
            return {"speaker": None, "speaker_state": DeviceState.UNTRIED.value, "underruns": 0}
        return {
            "speaker": mouth.account.name or None,
            "speaker_state": mouth.account.state.value,
            "speaker_for_s": round(mouth.account.for_s, 1),
            "speaker_reopened": mouth.account.reopened,
            "underruns": mouth.underruns,
        }
