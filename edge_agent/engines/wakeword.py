"""microWakeWord: small streaming models that know one wake word each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.audio import HEAR_RATE_HZ
from edge_agent.config.suggest import suggest
from edge_agent.errors import EngineError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures

    from edge_agent.audio import AudioChunk

BUILT_IN = ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")
"""Words whose models come with pymicro-wakeword.

In an hour of other speech, clean and noisy, hey_mycroft fired ten times, all in orders of coffee, the others never
(tests/acceptance/test_wake.py).
"""
REFRACTORY_S = 1.0
"""After a word no word is taken for this long, so that nobody is heard twice."""

_STRICTEST = 0.99
"""Cutoff at sensitivity 0; a model's mean probability reaches 0.996 at the most (255/256)."""
_MOST_EAGER = 0.5
"""Cutoff at sensitivity 1."""
_OWN = 0.5
"""The sensitivity that stands for the model's own cutoff."""


class MicroWakeWordDetector:
    """Listens for several words at once; the words share the spectral features.

    Blocking: about 0.3 ms of a desktop processor for a 20 ms frame and four words. Not for use by two threads at once.

    A word fires when its probability, averaged over the model's sliding window (5 windows of 30 ms), rises above the
    cutoff; it has to fall below again before it can fire once more. Where several do in the same window the most
    probable one counts.

    Args:
        words: One or more of `BUILT_IN`.
        sensitivity: 0 (strict) to 1 (eager), for all words or by word. See `cutoff`.

    Raises:
        ModelError: A word is not built in.
    """

    def __init__(self, words: Sequence[str], sensitivity: Mapping[str, float] | float | None = None) -> None:
        for word in words:
            if word not in BUILT_IN:
                reason = f"is not a built-in word{suggest(word, BUILT_IN)}"
                raise ModelError("wake word", Path(word), reason, f"there are: {', '.join(BUILT_IN)}")
        self._words = tuple(dict.fromkeys(words))
        self._sensitivity = sensitivity
        self._models: dict[str, MicroWakeWord] = {}
        self._cutoffs: dict[str, float] = {}
        self._features: MicroWakeWordFeatures | None = None
        self._armed = set(self._words)
        self._features_seen = 0
        self._refractory_samples = 0

    @property
    def words(self) -> tuple[str, ...]:
        """The words listened for."""
        return self._words

    def load(self) -> None:
        """Load the models: about 5 ms each, after 0.3 s for the library.

        Raises:
            ModelError: The library or a model can't be read.
        """
        self.close()
        try:
            from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model
        except (ImportError, OSError) as error:
            remedy = "install the `wake` extra, or choose another activation.mode"
            raise ModelError("wake word library", Path("pymicro_wakeword"), str(error), remedy) from error
        for word in self._words:
            try:
                model = MicroWakeWord.from_builtin(Model(word))
            except (OSError, ValueError, RuntimeError) as error:
                self.close()
                raise ModelError("wake word", Path(word), str(error), "install pymicro-wakeword again") from error
            self._models[word] = model
            self._cutoffs[word] = cutoff(model.probability_cutoff, self._sensitivity_of(word))
        self._features = MicroWakeWordFeatures()
        self._begin()

    def detect(self, frame: AudioChunk) -> str | None:
        """Take 16 kHz audio; return the word that was just completed, once for each time it is said.

        Raises:
            EngineError: The models are not loaded.
        """
        if self._features is None:
            raise EngineError("wake word", "the models are not loaded")
        heard: str | None = None
        for features in self._features.process_streaming(frame.pcm):
            self._features_seen += 1
            # Between two windows the library says 0, which means nothing.
            judged = {word: model.process_streaming_prob(features) for word, model in self._models.items()}
            word = self._judge({w: p for w, p in judged.items() if self._features_seen % self._models[w].stride == 0})
            if word is not None and self._refractory_samples <= 0:
                heard = heard or word
                self._refractory_samples = round(REFRACTORY_S * HEAR_RATE_HZ)
        self._refractory_samples = max(0, self._refractory_samples - frame.samples)
        return heard

    def reset(self) -> None:
        """Forget what was heard so far.

        The library can only forget by making its interpreters anew: 0.3 ms a word on a desktop.
        """
        if self._features is None:
            return
        self._features.reset()
        for model in self._models.values():
            model.reset()
        self._begin()

    def close(self) -> None:
        """Free the models. May be called twice."""
        while self._models:
            self._models.popitem()[1].close()
        self._features = None

    def _judge(self, probabilities: Mapping[str, float | None]) -> str | None:
        """Return the most probable of the words that rose above their cutoff with this window."""
        rose: dict[str, float] = {}
        for word, probability in probabilities.items():
            if probability is None or probability <= self._cutoffs[word]:
                self._armed.add(word)
            elif word in self._armed:
                self._armed.remove(word)
                rose[word] = probability
        return max(rose, key=rose.__getitem__) if rose else None

    def _begin(self) -> None:
        self._armed = set(self._words)
        self._features_seen = 0
        self._refractory_samples = 0

    def _sensitivity_of(self, word: str) -> float | None:
        return self._sensitivity.get(word) if isinstance(self._sensitivity, Mapping) else self._sensitivity


def cutoff(own: float, sensitivity: float | None) -> float:
    """Return the probability that a word must exceed.

        sensitivity   0 ─────────── 0.5 ─────────── 1
        cutoff        0.99 ──────── own ─────────── 0.5      linear in between; None is 0.5

    Args:
        own: The cutoff that the model's makers recommend (0.85 to 0.97 for the built-in ones).
        sensitivity: 0 to 1.
    """
    if sensitivity is None:
        return own
    if sensitivity <= _OWN:
        return _STRICTEST + (own - _STRICTEST) * sensitivity / _OWN
    return own + (_MOST_EAGER - own) * (sensitivity - _OWN) / (1 - _OWN)
