"""How long the person who speaks pauses within sentences, learned from what was heard. Durations only, no clock.

Each silence is one sample: its length where speech went on, 0 where it was the end. Those after a whole sentence, after
which people seldom go on, are kept apart from all others. The learned silence would have cut off no more than one in
twenty of the recent ones of its kind, a margin included:

    covered = 95 % quantile of the samples, weighted: 0.93 for each one that came after
    learned = (prior * hang_over_s + weight * (covered + margin)) / (prior + weight), within [shortest_s, longest_s]

The prior is worth three samples against a silence that would become shorter, and a quarter of one against one that
would become longer: who is cut off says it all again, who waits loses a moment.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.config.audio import EndpointConfig

_COVERED_SHARE = 0.95
_MARGIN_S = 0.15
_KEPT_WEIGHT = 0.93
"""What a sample still counts for after another one: half after ten."""
_SHORTENING_PRIOR = 3.0
_LENGTHENING_PRIOR = 0.25
_WHOLE_SAMPLE_S = 2.0
"""Speech in which a person would have paused if ever; the end of a shorter utterance says proportionally less."""
_HALF_LIFE_S = 1800.0
"""After so long a quiet, half is forgotten: somebody else may speak."""
_MOST_SAMPLES = 64
_LEAST_WEIGHT = 0.01

_Sample = tuple[float, float]
"""Weight, and the pause in seconds."""


class PauseLearner:
    """Learns the silence after which the person who speaks has nothing more to say.

    It starts at `hang_over_s` and stays within `shortest_s` and `longest_s`, stretched to hold `hang_over_s`.

    Args:
        state: What `state` of another one returned, to go on from there.

    Raises:
        ValueError: `state` is nothing that `state` returns.
    """

    def __init__(self, config: EndpointConfig, state: Mapping[str, Any] | None = None) -> None:
        self._open = _Kind(config, _checked(state, "open"))
        self._sentence = _Kind(config, _checked(state, "sentence"))
        self._last_end: tuple[_Kind, float] | None = None

    @property
    def silence_s(self) -> float:
        """Silence in seconds that ends an utterance of which nothing is known."""
        return self._open.silence_s

    @property
    def after_sentence_s(self) -> float:
        """The same after a whole sentence, one that may go on; never longer than `silence_s`."""
        return min(self._sentence.silence_s, self._open.silence_s)

    def pause(self, silence_s: float, *, is_sentence: bool = False) -> None:
        """Speech went on after a silence within the running utterance."""
        self._kind(is_sentence=is_sentence).pause(silence_s)

    def utterance_ended(self, speech_s: float, silence_s: float, *, is_sentence: bool = False) -> None:
        """The running utterance ended, with `speech_s` of speech, after `silence_s` of silence."""
        for kind in (self._open, self._sentence):
            kind.commit()
        ended = self._kind(is_sentence=is_sentence)
        ended.add(min(1.0, speech_s / _WHOLE_SAMPLE_S), 0.0)
        self._last_end = (ended, silence_s)

    def utterance_dropped(self) -> None:
        """What ran was no utterance, or one that says nothing about pauses, as one under a held button."""
        for kind in (self._open, self._sentence):
            kind.drop()
        self._last_end = None

    def false_end(self, gap_s: float) -> None:
        """Speech went on `gap_s` after the endpoint of the last utterance, which was a pause in truth.

        Call it before the rest of what was said ends; without an endpoint before it, it changes nothing.
        """
        if self._last_end is not None:
            kind, silence_s = self._last_end
            kind.amend(silence_s + gap_s)
            self._last_end = None

    def forget(self, quiet_s: float) -> None:
        """Nobody spoke for `quiet_s`: go back towards the start, half the way in half an hour."""
        for kind in (self._open, self._sentence):
            kind.fade(0.5 ** (quiet_s / _HALF_LIFE_S))

    def state(self) -> dict[str, Any]:
        """Return what was learned as plain data, to be kept over a restart."""
        return {"open": self._open.state(), "sentence": self._sentence.state()}

    def _kind(self, *, is_sentence: bool) -> _Kind:
        return self._sentence if is_sentence else self._open


class _Kind:
    """The silences of one kind, and what is learned from them."""

    def __init__(self, config: EndpointConfig, samples: Sequence[_Sample]) -> None:
        self._start_s = config.hang_over_s
        self._shortest_s = min(config.shortest_s, config.longest_s, config.hang_over_s)
        self._longest_s = max(config.shortest_s, config.longest_s, config.hang_over_s)
        self._samples: deque[_Sample] = deque(samples, maxlen=_MOST_SAMPLES)
        self._running_s: deque[float] = deque(maxlen=_MOST_SAMPLES)
        self.silence_s = self._learned()

    def pause(self, silence_s: float) -> None:
        self._running_s.append(silence_s)
        self.silence_s = self._learned()

    def commit(self) -> None:
        """The running utterance was one: its pauses count from now on."""
        running_s = list(self._running_s)
        self._running_s.clear()
        for pause_s in running_s:
            self.add(1.0, pause_s)

    def drop(self) -> None:
        self._running_s.clear()
        self.silence_s = self._learned()

    def add(self, weight: float, pause_s: float) -> None:
        self.fade(_KEPT_WEIGHT**weight)
        self._samples.append((weight, pause_s))
        self.silence_s = self._learned()

    def amend(self, pause_s: float) -> None:
        """The last silence was no end but a pause."""
        if self._samples:
            self._samples.pop()
        self._samples.append((1.0, pause_s))
        self.silence_s = self._learned()

    def fade(self, share: float) -> None:
        faded = [(weight * share, pause_s) for weight, pause_s in self._samples]
        self._samples.clear()
        self._samples.extend(sample for sample in faded if sample[0] >= _LEAST_WEIGHT)
        self.silence_s = self._learned()

    def state(self) -> list[list[float]]:
        return [[round(weight, 4), round(pause_s, 3)] for weight, pause_s in self._samples]

    def _learned(self) -> float:
        samples = list(self._samples)
        learned_s = self._blended(samples)
        if self._running_s:
            # That someone has paused briefly so far is no reason to wait less for the rest of the same sentence.
            running = [(1.0, pause_s) for pause_s in self._running_s]
            learned_s = max(learned_s, self._blended([*samples, *running]))
        return learned_s

    def _blended(self, samples: list[_Sample]) -> float:
        weight = sum(sample[0] for sample in samples)
        if not weight:
            return self._start_s
        target_s = min(max(_covered(samples, weight) + _MARGIN_S, self._shortest_s), self._longest_s)
        prior = _SHORTENING_PRIOR if target_s < self._start_s else _LENGTHENING_PRIOR
        return (prior * self._start_s + weight * target_s) / (prior + weight)


def _covered(samples: list[_Sample], weight: float) -> float:
    """Return the shortest pause that 95 % of the weight does not exceed."""
    reached = 0.0
    pause_s = 0.0
    for part, pause_s in sorted(samples, key=lambda sample: sample[1]):  # noqa: B007 - the last one is the answer
        reached += part
        if reached >= _COVERED_SHARE * weight:
            break
    return pause_s


def _checked(state: Mapping[str, Any] | None, kind: str) -> list[_Sample]:
    if state is None:
        return []
    try:
        samples = [(float(weight), float(pause_s)) for weight, pause_s in state[kind]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no state of a PauseLearner: {state!r:.80}") from error
    if any(not (0 < weight <= 1 and 0 <= pause_s < float("inf")) for weight, pause_s in samples):
        raise ValueError(f"no state of a PauseLearner: {state!r:.80}")
    return samples
