"""A voice and the echo of what is played, in rooms made by arithmetic."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sounds import babble, load
from virtual_scene import Props, Scene, virtual_scene
from virtual_stage import QUIET, WHISPER, Person, Tape
from virtual_time import in_virtual_time

from edge_agent.audio import FRAME_S, FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.config.audio import InterruptionConfig
from edge_agent.config.engines import FliteConfig
from edge_agent.engines.flite import FliteSynthesizer
from edge_agent.engines.webrtc import WebRtcVad
from edge_agent.hear.echo import ECHO_WINDOW_S, EchoGuard, Origin
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.facts import Activated, Interrupted, ListeningLapsed
from edge_agent.speak.earcons import earcon

MARGIN_DB = InterruptionConfig().margin_db
Samples = NDArray[np.float64]
LEARNING_S = 0.6


@dataclass(frozen=True)
class Room:
    """How the speaker comes back to the microphone."""

    delay_s: float = 0.06
    coupling_db: float = -15.0
    noise_db: float = -70.0
    reverberation_s: float = 0.4
    seed: int = 1

    def echo(self, played: Samples) -> Samples:
        """Return what comes back: direct sound and a tail that falls by 60 dB, later, at the coupling's level."""
        length = int(self.reverberation_s * HEAR_RATE_HZ)
        response = np.random.default_rng(self.seed).standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
        response[0] = 4.0
        response *= 10 ** (self.coupling_db / 20) / np.sqrt((response**2).sum())
        size = 1 << (len(played) + length).bit_length()
        wet: Samples = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(response, size), size)[: len(played)]
        delay = round(self.delay_s * HEAR_RATE_HZ)
        late: Samples = np.concatenate([np.zeros(delay), wet])[: len(played)]
        return late

    def heard(self, played: Samples, person: Samples | None = None, at_s: float = 0.0) -> Samples:
        """Return the microphone's signal while `played` plays and a person speaks from `at_s` on."""
        noise = np.random.default_rng(self.seed + 1).standard_normal(len(played)) * 10 ** (self.noise_db / 20)
        mixed = self.echo(played) + noise
        if person is not None:
            start = round(at_s * HEAR_RATE_HZ)
            there = person[: len(mixed) - start]
            mixed[start : start + len(there)] += there
        return np.clip(mixed, -1.0, 1.0)


def levels(samples: Samples) -> Samples:
    """Return the RMS of each frame."""
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    root: Samples = np.sqrt((whole**2).mean(axis=1))
    return root


def recent_levels(played: Samples) -> Samples:
    """Return what a speaker without latency tells at the end of each frame."""
    window = round(ECHO_WINDOW_S / FRAME_S)
    return np.array([part.max() for part in np.lib.stride_tricks.sliding_window_view(levels(padded(played)), window)])


def padded(played: Samples) -> Samples:
    """Return it with the window's silence before it."""
    return np.concatenate([np.zeros((round(ECHO_WINDOW_S / FRAME_S) - 1) * FRAME_SAMPLES), played])


def frames(samples: Samples) -> Iterator[AudioChunk]:
    """Yield the microphone's frames."""
    pcm = (samples * 32_767).astype("<i2")
    for start in range(0, len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES, FRAME_SAMPLES):
        yield AudioChunk(pcm[start : start + FRAME_SAMPLES].tobytes(), HEAR_RATE_HZ)


def judged(
    guard: EchoGuard, heard: Samples, played: Samples, is_speech: Callable[[AudioChunk], bool] | None = None
) -> list[Origin]:
    """Return what the guard says of each frame; without a detector everything that is no silence is called speech."""
    return [
        guard.judge(frame, is_speech=is_speech(frame) if is_speech else any(frame.pcm), played_level=float(level))
        for frame, level in zip(frames(heard), recent_levels(played), strict=True)
    ]


def speech(duration_s: float, seed: int, level_db: float = -15.0) -> Samples:
    """Return syllables of noise at an RMS level."""
    samples = babble(duration_s, HEAR_RATE_HZ, seed) / 32_768
    scaled: Samples = samples * 10 ** (level_db / 20) / np.sqrt((samples**2).mean())
    return scaled


def voice(duration_s: float, seed: int, level_db: float) -> Samples:
    """Return noise whose every frame has about that level."""
    scaled: Samples = np.random.default_rng(seed).standard_normal(round(duration_s * HEAR_RATE_HZ)) * 10 ** (
        level_db / 20
    )
    return scaled


def interrupts_after(origins: list[Origin], config: InterruptionConfig | None = None) -> float | None:
    """Return when there was as much voice as it takes to interrupt, in seconds from the first of the frames."""
    config = config or InterruptionConfig()
    needed = round(config.onset_s / FRAME_S)
    for end in range(1, len(origins) + 1):
        if origins[max(0, end - 2 * needed) : end].count(Origin.VOICE) >= needed:
            return end * FRAME_S
    return None


def learned(room: Room, played: Samples) -> EchoGuard:
    """Return a guard that has heard one answer in a room."""
    guard = EchoGuard(MARGIN_DB)
    judged(guard, room.heard(played), played)
    return guard


rooms = st.builds(
    Room,
    delay_s=st.floats(0.02, 0.22),
    coupling_db=st.floats(-40, 0),
    noise_db=st.sampled_from([-80.0, -60.0, -50.0]),
    reverberation_s=st.floats(0.1, 0.6),
    seed=st.integers(1, 1000),
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(room=rooms, volume_db=st.floats(-20, 0), seed=st.integers(1, 100))
def test_the_agent_does_not_interrupt_itself(room: Room, volume_db: float, seed: int) -> None:
    """From the first answer on no frame of it is a voice, though the detector calls everything speech."""
    guard = EchoGuard(MARGIN_DB)
    for turn in range(2):
        answer = speech(4.0, seed + turn, -15 + volume_db)
        origins = judged(guard, room.heard(answer), answer)
        assert origins.count(Origin.VOICE) == 0


@settings(derandomize=True, deadline=None, max_examples=60)
@given(room=rooms, at_s=st.floats(1.0, 3.0), seed=st.integers(1, 100))
def test_a_voice_louder_than_echo_and_margin_interrupts_within_200_ms(room: Room, at_s: float, seed: int) -> None:
    """A person 6 dB above the threshold is found out wherever in the answer they begin, after one answer's learning."""
    answer = speech(4.0, seed, -30)
    guard = learned(room, answer)
    assert guard.coupling_db is not None
    loudest_db = 20 * np.log10(levels(answer).max())
    person_db = max(loudest_db + guard.coupling_db, room.noise_db) + MARGIN_DB + 6
    heard = room.heard(answer, voice(1.0, seed, person_db), at_s)
    origins = judged(guard, heard, answer)
    first = int(at_s / FRAME_S)
    assert Origin.VOICE not in origins[:first]
    after_s = interrupts_after(origins[first:])
    assert after_s is not None
    assert after_s <= 0.2


@settings(derandomize=True, deadline=None, max_examples=30)
@given(room=rooms, seed=st.integers(1, 100))
def test_the_learned_coupling_is_the_rooms(room: Room, seed: int) -> None:
    """Within a few dB, where the echo stands out of the noise; else no more than the noise."""
    answer = speech(6.0, seed)
    guard = learned(room, answer)
    assert guard.coupling_db is not None
    noise_db = room.noise_db + 15
    assert guard.coupling_db == pytest.approx(
        10 * np.log10(10 ** (room.coupling_db / 10) + 10 ** (noise_db / 10)), abs=5
    )


def test_nothing_is_concluded_before_enough_was_played() -> None:
    """At first only what is far above the echo of the worst place is a voice; then the room counts."""
    room = Room(coupling_db=-30.0)
    answer = speech(4.0, 3)
    guard = EchoGuard(MARGIN_DB)
    person = voice(0.3, 5, -25)
    early = judged(
        guard, room.heard(answer[: round(0.5 * HEAR_RATE_HZ)], person, 0.2), answer[: round(0.5 * HEAR_RATE_HZ)]
    )
    assert Origin.VOICE not in early
    assert guard.coupling_db is None
    guard = learned(room, answer)
    assert interrupts_after(judged(guard, room.heard(answer, person, 2.0), answer)) is not None


def test_somebody_who_speaks_moves_the_estimate_little() -> None:
    """A second of loud speech raises it by no more than 5 dB, and it comes back."""
    room = Room(coupling_db=-25.0)
    answer = speech(8.0, 3)
    guard = learned(room, answer)
    before_db = guard.coupling_db
    judged(guard, room.heard(answer[: 3 * HEAR_RATE_HZ], voice(1.0, 5, -10), 2.0), answer[: 3 * HEAR_RATE_HZ])
    after_db = guard.coupling_db
    assert before_db is not None
    assert after_db is not None
    assert after_db - before_db <= 5.2
    judged(guard, room.heard(answer), answer)
    assert guard.coupling_db == pytest.approx(before_db, abs=1.0)


def test_somebody_who_spoke_into_the_first_estimate_is_forgotten() -> None:
    """An estimate that is far too high comes down as the agent speaks."""
    room = Room(coupling_db=-30.0)
    answer = speech(15.0, 3)
    guard = EchoGuard(MARGIN_DB)
    first = answer[:HEAR_RATE_HZ]
    judged(guard, room.heard(first, voice(1.0, 5, -25), 0.0), first)
    assert guard.coupling_db is not None
    assert guard.coupling_db > -20
    judged(guard, room.heard(answer), answer)
    assert guard.coupling_db == pytest.approx(-30, abs=3)


def test_an_amplifier_that_is_turned_up_is_learned() -> None:
    """20 dB more echo are voices at first; the longer it plays, the fewer, and in the end none."""
    answer = speech(8.0, 3, -25)
    guard = learned(Room(coupling_db=-30.0), answer)
    louder = Room(coupling_db=-10.0)
    false = [judged(guard, louder.heard(answer), answer).count(Origin.VOICE) for _ in range(3)]
    assert false[0] > 0
    assert false[-1] == 0


def test_our_own_volume_is_known_at_once() -> None:
    """The played level tells: 30 dB more are expected to come back 30 dB louder, and no voice."""
    room = Room(coupling_db=-12.0)
    guard = learned(room, speech(4.0, 3, -40))
    answer = speech(4.0, 4, -10)
    assert Origin.VOICE not in judged(guard, room.heard(answer), answer)


def test_the_rooms_answer_to_the_last_word_is_no_voice() -> None:
    """After the end the expected echo decays with the room; a second later a voice is what the detector says."""
    room = Room(delay_s=0.22, coupling_db=-6.0, reverberation_s=0.6, noise_db=-90)
    answer = np.concatenate([speech(3.0, 3), np.zeros(2 * HEAR_RATE_HZ)])
    guard = learned(room, answer)
    heard = room.heard(answer)
    end = round(3.0 / FRAME_S)
    origins = judged(guard, heard, answer, lambda frame: np.abs(np.frombuffer(frame.pcm, "<i2")).max() > 30)
    assert Origin.VOICE not in origins
    quiet = judged(guard, room.heard(answer, voice(0.5, 5, -40), 4.0), answer, lambda frame: True)
    assert set(quiet[round(4.0 / FRAME_S) : round(4.5 / FRAME_S)]) == {Origin.VOICE}
    assert Origin.VOICE not in quiet[:end]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.5)), max_size=50))
def test_where_nothing_is_played_the_detector_decides(marks: list[tuple[bool, float]]) -> None:
    """Speech is a voice, however quiet, and nothing else is; no frame is called an echo."""
    guard = EchoGuard(MARGIN_DB)
    for is_speech, level in marks:
        frame = AudioChunk(np.full(FRAME_SAMPLES, round(level * 32_767), "<i2").tobytes(), HEAR_RATE_HZ)
        assert guard.is_voice(frame, is_speech=is_speech, played_level=0.0) is is_speech
        assert guard.judge(frame, is_speech=is_speech, played_level=0.0) is not Origin.ECHO


def test_a_loud_noise_is_no_voice() -> None:
    """A door that slams during an answer: the level says so, the detector does not."""
    room = Room(coupling_db=-30.0)
    answer = speech(4.0, 3)
    guard = learned(room, answer)
    heard = room.heard(answer, voice(0.3, 5, -6), 2.0)
    origins = judged(guard, heard, answer, lambda frame: False)
    slam = round(2.1 / FRAME_S)
    assert origins[slam] is Origin.UNSURE
    assert Origin.VOICE not in origins


def test_an_empty_frame_is_silence() -> None:
    """No division by its length."""
    assert EchoGuard(MARGIN_DB).judge(AudioChunk(b"", HEAR_RATE_HZ), is_speech=False, played_level=0.5) is Origin.ECHO


def test_earcons_are_heard_as_echo_and_a_voice_behind_them_is_not() -> None:
    """Once the room is known every frame of the tone is silence for the recognizer; speech over it is kept."""
    room = Room(coupling_db=-20.0)
    tone = np.frombuffer(earcon("listening", HEAR_RATE_HZ).pcm, "<i2") / 32_768
    played = np.concatenate([np.zeros(HEAR_RATE_HZ // 2), tone, np.zeros(HEAR_RATE_HZ)])
    guard = learned(room, np.concatenate([speech(3.0, 3), np.zeros(HEAR_RATE_HZ)]))
    judged(guard, room.heard(played), played)
    alone = judged(guard, room.heard(played), played, lambda frame: True)
    sounding = np.flatnonzero(levels(room.echo(played)) > 1e-3)
    assert len(sounding) >= 10
    assert {alone[frame] for frame in sounding} == {Origin.ECHO}
    person = judged(guard, room.heard(played, voice(1.0, 5, -20), 0.6), played, lambda frame: True)
    assert Origin.ECHO not in person[round(0.6 / FRAME_S) :][:40]


def test_a_voice_behind_the_very_first_earcon_is_not_silenced() -> None:
    """Before anything is known a person is not taken for an echo, though not for a certain voice either."""
    room = Room(coupling_db=-30.0)
    tone = np.frombuffer(earcon("listening", HEAR_RATE_HZ).pcm, "<i2") / 32_768
    played = np.concatenate([np.zeros(HEAR_RATE_HZ // 2), tone, np.zeros(HEAR_RATE_HZ)])
    origins = judged(EchoGuard(MARGIN_DB), room.heard(played, voice(1.0, 5, -25), 0.65), played, lambda frame: True)
    assert Origin.ECHO not in origins[round(0.66 / FRAME_S) :][:40]


def test_another_device_is_learned_anew() -> None:
    """After `forget` nothing is known."""
    guard = learned(Room(), speech(4.0, 3))
    assert guard.coupling_db is not None
    guard.forget()
    assert guard.coupling_db is None


def test_after_a_break_nothing_is_an_echo() -> None:
    """Minutes without a frame: the first whisper after them is no echo of what was played before."""
    quiet = AudioChunk(bytes(2 * FRAME_SAMPLES), HEAR_RATE_HZ)
    whisper = AudioChunk(np.full(FRAME_SAMPLES, 30, "<i2").tobytes(), HEAR_RATE_HZ)
    for rests, origin in (False, Origin.ECHO), (True, Origin.VOICE):
        guard = EchoGuard(MARGIN_DB)
        guard.judge(quiet, is_speech=False, played_level=0.5)
        if rests:
            guard.rest()
        assert guard.judge(whisper, is_speech=True, played_level=0.0) is origin


def test_a_break_leaves_what_was_learned() -> None:
    """The room is the same after it."""
    guard = learned(Room(), speech(4.0, 3))
    before_db = guard.coupling_db
    assert before_db is not None
    guard.rest()
    assert guard.coupling_db == before_db


class Played:
    """How loud it is what is played, as the test says."""

    def __init__(self) -> None:
        self._level = 0.0

    def __call__(self, window_s: float) -> float:
        """Return it."""
        return self._level

    def at(self, level: float) -> Callable[[], None]:
        """Return what sets it."""
        return partial(setattr, self, "_level", level)


async def no_script(scene: Scene, person: Person) -> None:
    """Nobody is there; the test plays a tape."""


@in_virtual_time
async def test_the_ears_have_the_noise_learned_while_nothing_plays() -> None:
    """A fan is no echo: the room that is learned while it blows is as deaf as it is, not as loud as the fan."""
    played = Played()
    fan = (np.random.default_rng(1).standard_normal(FRAME_SAMPLES) * 0.02 * 32_767).astype("<i2").tobytes()
    async with virtual_scene(no_script, Props(room_level=played)) as (scene, _):
        tape = Tape(*[fan] * 150, played.at(0.1), *[fan] * 50)
        await scene.ears.listen(tape, patient=False)
        coupling_db = scene.ears._guard.coupling_db
    assert coupling_db is not None
    assert coupling_db < -30  # the fan is 14 dB below what is played


@in_virtual_time
async def test_the_ears_take_nothing_for_an_echo_of_what_was_played_before_they_slept() -> None:
    """A tone, a minute of waiting for the wake word, which is judged by no guard, and then somebody whispers."""
    played = Played()
    async with virtual_scene(no_script, Props(mode="wake_word", room_level=played)) as (scene, _):
        post = scene.runner.post
        tape = Tape(
            partial(post, Activated("wake word")),
            played.at(0.5),
            *[QUIET] * 5,
            played.at(0.0),
            partial(post, ListeningLapsed()),
            *[QUIET] * 3000,
            partial(post, Activated("wake word")),
            *[WHISPER] * 15,
            lambda: states.append(scene.runner.state),
            partial(post, Interrupted("end")),
        )
        states: list[State] = []
        await scene.ears.listen(tape, patient=False)
    assert states == [State.HEARING]


ANSWER = (
    "The kitchen light is on now. It is seven thirty in the evening, and tomorrow will be sunny with a light wind "
    "from the west. Do you want me to set an alarm for tomorrow morning?"
)
CLIPS = ("turn_on_the_lamp", "set_timer", "what_time_is_it", "play_the_beatles")


@pytest.fixture(scope="module")
def spoken() -> Samples:
    """An answer in the agent's own voice, as it is played."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed (apt install flite)")
    chunks = list(FliteSynthesizer(FliteConfig()).synthesize(ANSWER))
    assert {chunk.rate_hz for chunk in chunks} == {HEAR_RATE_HZ}
    samples = np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2") / 32_768 * 0.64
    return np.concatenate([np.zeros(HEAR_RATE_HZ), samples, np.zeros(HEAR_RATE_HZ)])


@pytest.mark.parametrize("coupling_db", [-40.0, -25.0, -10.0, 0.0])
@pytest.mark.parametrize("delay_s", [0.02, 0.12, 0.22])
def test_an_answer_in_the_agents_own_voice_is_never_a_voice(
    spoken: Samples, coupling_db: float, delay_s: float
) -> None:
    """With WebRTC's detector, which takes its first second of noise for speech, from the first answer on."""
    room = Room(delay_s, coupling_db, noise_db=-65.0)
    guard = EchoGuard(MARGIN_DB)
    for _ in range(2):
        origins = judged(guard, room.heard(spoken), spoken, WebRtcVad(2).is_speech)
        assert interrupts_after(origins[round(1.0 / FRAME_S) :]) is None


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("delay_s", [0.02, 0.12, 0.22])
def test_recorded_people_interrupt_the_agents_voice(
    spoken: Samples, speech_dir: Path, clip: str, delay_s: float
) -> None:
    """Their first word, where it is 6 dB louder than the echo and the margin, is found out within 200 ms more."""
    samples, rate_hz = load(speech_dir / "home" / f"{clip}.wav")
    assert rate_hz == HEAR_RATE_HZ
    person = samples / 32_768
    loud = levels(person)
    onset = int(np.flatnonzero(loud > 0.25 * loud.max())[0])
    person = person[onset * FRAME_SAMPLES :]
    room = Room(delay_s, -35.0, noise_db=-70.0)
    guard = learned(room, spoken)
    assert guard.coupling_db is not None
    threshold = levels(spoken).max() * 10 ** ((guard.coupling_db + MARGIN_DB) / 20)
    # The middle frame of the first syllables is 6 dB above it.
    person *= threshold * 2 / np.median(levels(person)[:15])
    at_s = 3.0
    origins = judged(guard, room.heard(spoken, person, at_s), spoken, WebRtcVad(2).is_speech)
    after_s = interrupts_after(origins[round(at_s / FRAME_S) :])
    assert after_s is not None
    assert after_s <= 0.2
