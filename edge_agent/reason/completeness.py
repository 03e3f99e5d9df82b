"""Judges whether more words will follow: by the intents' templates, and where they say nothing by the last word.

| heard                                       | verdict    | because                                                  |
|---------------------------------------------|------------|----------------------------------------------------------|
| turn on the lamp                            | COMPLETE   | no template goes on                                      |
| what time is it                             | COMPLETE   | what may follow ("now") changes nothing                  |
| set a timer for ten minutes                 | COMPLETE   | has its number; a name or seconds are an afterthought    |
| set a timer · set the volume to twenty      | OPEN       | a sentence, but "for ten minutes", "five" change it      |
| stop                                        | OPEN       | a sentence, but "the timer" makes it another intent      |
| set a timer for · set a timer for ten       | UNFINISHED | templates want more                                      |
| I'd like to know the                        | UNFINISHED | nobody ends with an article                              |
| tell me a story                             | OPEN       | anything may follow                                      |

A command that has its number ends early although "and thirty seconds" or "called pasta" would be understood: these
come seldom, mostly without a pause, and waiting for them would make every timer slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.events import Completeness
from edge_agent.reason.continuations import Continuations
from edge_agent.reason.wordforms import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hassil.intents import Intents

    from edge_agent.events import Transcript
    from edge_agent.reason.automaton import Automaton

LEADING_WORDS: Mapping[str, frozenset[str]] = {
    "en": frozenset(
        (
            *(
                "a",
                "an",
                "the",
                "my",
                "your",
                "our",
                "their",
                "and",
                "or",
                "but",
                "because",
                "if",
                "than",
                "as",
                "very",
            ),
            *("i'm", "i'd", "i'll", "i've", "you're", "we're", "they're", "there's", "what's", "who's", "where's"),
            *("um", "uh", "er", "erm", "whether", "although", "unless", "until", "every", "gonna", "wanna"),
        )
    ),
    "zh": frozenset(
        (
            *(
                "和",
                "跟",
                "与",
                "或",
                "或者",
                "而且",
                "以及",
                "因为",
                "所以",
                "但是",
                "可是",
                "不过",
                "如果",
                "要是",
                "虽然",
            ),
            *("把", "被", "从", "向", "关于", "比如", "然后", "呃", "嗯", "那个", "就是"),
        )
    ),
}
"""Articles, possessives, conjunctions, contractions and hesitations: no sentence ends with them."""
PREPOSITIONS: Mapping[str, frozenset[str]] = {
    "en": frozenset(("of", "for", "with", "to", "at", "from", "about", "into", "between", "without", "during"))
}
"""A sentence ends with them only if it is a question: "what is it for". Those that go with verbs ("turn it on") are
not among them."""
QUESTION_WORDS: Mapping[str, frozenset[str]] = {
    "en": frozenset(
        ("what", "what's", "who", "who's", "which", "where", "where's", "how", "nothing", "something", "anything")
    )
}
WHOLE_ANSWERS: Mapping[str, frozenset[str]] = {
    "en": frozenset(("no", "yes", "yeah", "okay", "sure", "maybe", "good", "one", "what", "how", "when"))
}
"""Words that templates go on from, but that are said alone as often."""


class CompletenessJudge:
    """Judges transcripts. Pure; blocks for some milliseconds.

    Args:
        intents: The intents that are listened for.
        language: ISO 639 code.
        automaton: That of `intents`, where there is one; built otherwise, which takes some tenths of a second.
    """

    def __init__(self, intents: Intents, language: str, automaton: Automaton | None = None) -> None:
        if automaton is None:
            from edge_agent.reason.automaton import Automaton

            automaton = Automaton(intents, language)
        self._language = language
        self._by_character = intents.settings.ignore_whitespace
        self._continuations = Continuations(automaton, language, by_character=self._by_character)
        self._leading = LEADING_WORDS.get(language, frozenset())
        self._prepositions = PREPOSITIONS.get(language, frozenset())
        self._questions = QUESTION_WORDS.get(language, frozenset())
        self._answers = WHOLE_ANSWERS.get(language, frozenset())

    def judge(self, transcript: Transcript, asked: str | None = None) -> Completeness:
        """Return what a transcript, partial or final, says about whether more will follow.

        Args:
            transcript: Where it is in the grammar and `text` is in no template, the first alternative that is a
                sentence stands for it, as it does when it is matched.
            asked: What was asked for just now: sentences that only answer it count as well.
        """
        words = spoken(transcript.text, self._language).split()
        if not words:
            return Completeness.OPEN
        tail = self._continuations.after(transcript.text, asked)
        if tail.is_sentence:
            return Completeness.OPEN if tail.likely else Completeness.COMPLETE
        if tail.is_prefix:
            return Completeness.OPEN if " ".join(words) in self._answers else Completeness.UNFINISHED
        if transcript.in_grammar:  # its last word may well be one that the recognizer put there
            for reading in transcript.alternatives:
                other = self._continuations.after(reading, asked)
                if other.is_sentence:
                    return Completeness.OPEN if other.likely else Completeness.COMPLETE
            return Completeness.OPEN
        return Completeness.UNFINISHED if self._wants_more(words) else Completeness.OPEN

    def _wants_more(self, words: list[str]) -> bool:
        last = words[-1]
        if last in self._leading or (self._by_character and last.endswith(self._long_leading)):
            return True
        return last in self._prepositions and self._questions.isdisjoint(words)

    @property
    def _long_leading(self) -> tuple[str, ...]:
        """Those that are no syllable of other words, so that they are found where words are not set apart."""
        return tuple(word for word in self._leading if len(word) > 1)
