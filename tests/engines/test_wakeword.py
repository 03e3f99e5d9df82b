"""The wake word detector: its words, its arithmetic on probabilities, and what it refuses."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest

from edge_agent.audio import FRAME_BYTES, FRAME_S, HEAR_RATE_HZ, AudioChunk
from edge_agent.engines.wakeword import BUILT_IN, REFRACTORY_S, MicroWakeWordDetector, cutoff
from edge_agent.errors import EngineError, ModelError

FRAME = AudioChunk(bytes(FRAME_BYTES), HEAR_RATE_HZ)
WINDOW_S = 0.03


class ScriptedFeatures:
    """Two features a frame, empty ones."""

    def process_streaming(self, pcm: bytes) -> Iterator[None]:
        """One for each 10 ms."""
        yield from [None] * (len(pcm) * 2 // FRAME_BYTES)

    def reset(self) -> None:
        """Nothing to forget."""


class ScriptedModel:
    """Says the scripted probability for each window of three features, then 0; between windows 0, like the library."""

    stride = 3

    def __init__(self, *windows: float) -> None:
        self._windows = list(windows)
        self._features = 0
        self.closed = False

    def process_streaming_prob(self, features: object) -> float:
        """Follow the script."""
        self._features += 1
        if self._features % self.stride:
            return 0.0
        return self._windows.pop(0) if self._windows else 0.0

    def close(self) -> None:
        """Write down."""
        self.closed = True


def scripted(probabilities: Mapping[str, Sequence[float]], cutoff: float = 0.9) -> MicroWakeWordDetector:
    """Return a detector on scripted models."""
    detector = MicroWakeWordDetector(list(probabilities))
    detector._features = ScriptedFeatures()
    detector._models = {word: ScriptedModel(*windows) for word, windows in probabilities.items()}
    detector._cutoffs = dict.fromkeys(probabilities, cutoff)
    return detector


def fired(detector: MicroWakeWordDetector, length_s: float) -> list[tuple[float, str]]:
    """Feed frames and return the words with their times."""
    found = [(step, detector.detect(FRAME)) for step in range(1, round(length_s / FRAME_S) + 1)]
    return [(round(step * FRAME_S, 2), word) for step, word in found if word is not None]


def test_the_built_in_words_are_the_librarys() -> None:
    """The list that is known without importing the library is complete."""
    from pymicro_wakeword import Model

    assert {model.value for model in Model} == set(BUILT_IN)


def test_a_saying_fires_once_however_long_its_probability_stays_high() -> None:
    """Longer even than the refractory period."""
    high = [0.95] * round(3 * REFRACTORY_S / WINDOW_S)
    assert fired(scripted({"alexa": [0.1, *high, 0.1]}), 5) == [(0.06, "alexa")]


def test_a_word_fires_again_after_it_fell_and_the_refractory_period() -> None:
    """Two sayings two seconds apart are two."""
    quiet = [0.0] * round(2 / WINDOW_S)
    assert [word for _, word in fired(scripted({"alexa": [0.95, *quiet, 0.95]}), 5)] == ["alexa", "alexa"]


def test_a_dip_within_a_saying_does_not_fire_twice() -> None:
    """The refractory period is counted in audio time."""
    assert fired(scripted({"alexa": [0.95, 0.8, 0.95, 0.8, 0.95]}), 5) == [(0.04, "alexa")]


def test_the_most_probable_of_two_words_wins() -> None:
    """And the other one does not follow when the refractory period is over."""
    high = round(2 * REFRACTORY_S / WINDOW_S)
    detector = scripted({"okay_nabu": [0.93] * high, "alexa": [0.97] * 3})
    assert fired(detector, 5) == [(0.04, "alexa")]


def test_the_cutoff_itself_is_not_enough() -> None:
    """It has to be exceeded."""
    assert fired(scripted({"alexa": [0.9] * 10}), 1) == []


@pytest.mark.parametrize("own", [0.85, 0.97])
def test_sensitivity_goes_from_strict_over_the_models_own_to_eager(own: float) -> None:
    """0 is 0.99, 0.5 and none the model's own, 1 is 0.5; in between it falls all the way."""
    assert cutoff(own, None) == own
    assert [cutoff(own, value) for value in (0, 0.5, 1)] == pytest.approx([0.99, own, 0.5])
    values = [cutoff(own, step / 20) for step in range(21)]
    assert all(before > after for before, after in pairwise(values))


def test_sensitivity_is_for_all_words_or_by_word() -> None:
    """A word that is not named keeps its own cutoff."""
    for sensitivity, expected in (
        (1.0, {"alexa": 0.5, "hey_jarvis": 0.5}),
        ({"alexa": 1.0}, {"alexa": 0.5, "hey_jarvis": 0.97}),
        (None, {"alexa": 0.9, "hey_jarvis": 0.97}),
    ):
        detector = MicroWakeWordDetector(["alexa", "hey_jarvis"], sensitivity)
        detector.load()
        assert detector._cutoffs == pytest.approx(expected)
        detector.close()


def test_an_unknown_word_is_refused_with_a_guess_and_the_list() -> None:
    """Before anything is loaded."""
    with pytest.raises(ModelError, match=r'okay_nabo: .*did you mean "okay_nabu"\?; there are: okay_nabu, hey_jarvis'):
        MicroWakeWordDetector(["alexa", "okay_nabo"])


def test_a_word_named_twice_is_one() -> None:
    """No work is done twice."""
    assert MicroWakeWordDetector(["alexa", "alexa"]).words == ("alexa",)


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small install has no wake words."""
    real = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name == "pymicro_wakeword":
            raise ImportError("No module named 'pymicro_wakeword'")
        return real(name, *rest)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModelError, match="install the `wake` extra"):
        MicroWakeWordDetector(["alexa"]).load()


def test_nothing_is_heard_before_loading_or_after_closing() -> None:
    """A mistake in the program, told as one."""
    detector = MicroWakeWordDetector(["alexa"])
    with pytest.raises(EngineError, match="not loaded"):
        detector.detect(FRAME)
    detector.load()
    assert detector.detect(FRAME) is None
    detector.close()
    detector.close()
    detector.reset()
    with pytest.raises(EngineError, match="not loaded"):
        detector.detect(FRAME)


def test_reset_forgets_everything() -> None:
    """After it the real models say of the same audio exactly what they said from a fresh start."""
    noise = np.random.default_rng(5).normal(0, 3000, HEAR_RATE_HZ).astype("<i2").tobytes()
    detector = MicroWakeWordDetector(["okay_nabu"])
    detector.load()

    def probabilities() -> list[float]:
        model, features = detector._models["okay_nabu"], detector._features
        assert features is not None
        return [model.process_streaming_prob(feature) for feature in features.process_streaming(noise)]

    first = probabilities()
    second = probabilities()
    detector.reset()
    assert probabilities() == first
    assert second != first
    detector.close()


def test_silence_and_noise_fire_nothing() -> None:
    """Ten seconds of each, all words, as eager as can be."""
    noise = np.random.default_rng(7).normal(0, 3000, 10 * HEAR_RATE_HZ).astype("<i2").tobytes()
    detector = MicroWakeWordDetector(BUILT_IN, 1.0)
    detector.load()
    for pcm in (bytes(len(noise)), noise):
        frames = (AudioChunk(pcm[at : at + FRAME_BYTES], HEAR_RATE_HZ) for at in range(0, len(pcm), FRAME_BYTES))
        assert [word for frame in frames if (word := detector.detect(frame))] == []
    detector.close()


def test_importing_and_making_it_is_light() -> None:
    """NumPy and TensorFlow Lite wait until the models are loaded."""
    program = (
        "import sys; from edge_agent.engines.wakeword import MicroWakeWordDetector; MicroWakeWordDetector(['alexa']); "
        "print([name for name in ('numpy', 'pymicro_wakeword') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
