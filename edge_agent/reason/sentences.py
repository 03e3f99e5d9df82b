"""Cuts a stream of text into sentences that can be spoken, each as soon as its end is certain."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Protocol

LIMIT = 200
"""Characters after which a sentence is cut at its last comma or space: a synthesizer renders a sentence as a whole, so
that this bounds the wait for the next sound."""
_LEAST = 40
"""A cut at a comma leaves at least so many characters in front of it."""

_STOPS = ".!?…"
_WIDE_STOPS = "。！？"
_CLOSERS = "\"'”’»›)]}*_`」』）】》"  # noqa: RUF001
_OPENERS = "\"'“‘«‹([{*_`「『（【《¿¡"  # noqa: RUF001
_ENDED = re.compile(rf"(?P<stops>[{re.escape(_STOPS)}]+)(?P<closers>[{re.escape(_CLOSERS)}]*)$")
_WIDE_ENDED = re.compile(rf"[{_WIDE_STOPS}][{_WIDE_STOPS}{re.escape(_STOPS)}]*[{re.escape(_CLOSERS)}]*$")
_LIST_MARK = re.compile(r"\s*[#*\-•]*\s*\d{1,3}\.$")

_TITLES = frozenset(
    "mr mrs ms mx dr prof rev hon gen sgt capt col lt cmdr gov pres sen rep st mt ft fr messrs mmes "  # noqa: SIM905 - a list would be a word a line
    "e.g i.e cf viz vs approx ca resp".split()
)
"""Abbreviations that never end a sentence."""
_EITHER = frozenset(
    "no nos vol fig figs sec ch ed eds p pp para art etc al inc ltd co corp dept est jr sr ave blvd rd "  # noqa: SIM905 - as above
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun "
    "min mins hr hrs deg temp max tel ext".split()
)
"""Abbreviations, or words, that end a sentence unless it goes on with a small letter or a figure."""

_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:https?://|mailto:|www\.)[^()\s]*\)")
_LEADING_MARKS = re.compile(r"^(?:[#>]+\s+|[-*+•–—]\s+)+")  # noqa: RUF001
_EMPHASIS = re.compile(r"(?<=\S)[*]+|[*]+(?=\S)|\*{2,}|(?<!\w)_+|_+(?!\w)|`+|~~+")
_RULES = re.compile(r"-{3,}|={3,}|\|")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\U000e0020-\U000e007f\ufe0e\ufe0f\u20e3]\u200d?"
)


class _End(Enum):
    SURE = auto()
    IF_NEXT_STARTS_ONE = auto()
    IF_NEXT_IS_NO_FIGURE = auto()
    NEVER = auto()


class Cutter(Protocol):
    """Turns deltas into pieces to speak."""

    def feed(self, delta: str) -> list[str]:
        """Take more text; return the pieces that it completes."""
        ...

    def flush(self) -> list[str]:
        """Return what is left, for the text has ended."""
        ...


class SentenceCutter:
    """Turns deltas into sentences; how the text is split into deltas makes no difference.

    Pure; belongs to one thread. Markdown marks and emoji are taken out, words never: the sentences hold the words of
    the text once each and in order (of a Markdown link the text, not the address). A line break ends a sentence.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._text = ""

    def feed(self, delta: str) -> list[str]:
        """Take more text; return the sentences that it completes."""
        found: list[str] = []
        for character in delta:
            self._text += character
            end = self._certain_end()
            if end:
                self._emit(end, found)
        return found

    def flush(self) -> list[str]:
        """Return what is left, for the text has ended; ready for another text afterwards."""
        found: list[str] = []
        self._emit(len(self._text), found)
        return found

    def _emit(self, end: int, found: list[str]) -> None:
        sentence = speakable(self._text[:end])
        self._text = self._text[end:].lstrip()
        if sentence:
            found.append(sentence)

    def _certain_end(self) -> int:
        """Return where the first sentence ends, 0 while that is not certain; looks at the last character's news."""
        text, last = self._text, self._text[-1]
        before = text[:-1]
        if last == "\n":
            return len(text)
        if last not in _WIDE_STOPS + _STOPS + _CLOSERS and _WIDE_ENDED.search(before[-20:]):
            return len(before)
        if last.isspace():
            if _judge(before) is _End.SURE:
                return len(text)
        elif before[-1:].isspace():
            end = _judge(before.rstrip())
            goes_on = last.islower() or (last.isdigit() and end is _End.IF_NEXT_IS_NO_FIGURE)
            if end in (_End.IF_NEXT_STARTS_ONE, _End.IF_NEXT_IS_NO_FIGURE) and not goes_on:
                return len(before)
        return self._longest_part() if len(text) >= self._limit else 0

    def _longest_part(self) -> int:
        """Return a good place to cut a text that is too long: after a clause, else a word, else anywhere."""
        text = self._text
        clause = max((match.end() for match in re.finditer(r"[,;:–—]\s|[，；：、]", text)), default=0)  # noqa: RUF001
        if clause >= min(_LEAST, self._limit // 2):
            return clause
        word = max((match.end() for match in re.finditer(r"\s", text)), default=0)
        return word or len(text)


_CLAUSE_END = re.compile(r"(?:[,;:–—]\s|[，；：、])$")  # noqa: RUF001
_CLAUSE_WORDS = 3
_CLAUSE_WIDE = 5
"""Words, or characters of a script without spaces, that make a clause worth saying by itself."""


class ClauseCutter(SentenceCutter):
    """Cuts like its parent, but ends the very first piece at its first clause: the answer sounds sooner.

    "Well, I think that…" is not cut after its first word: a clause has at least `words`.
    """

    def __init__(self, limit: int = LIMIT, words: int = _CLAUSE_WORDS) -> None:
        super().__init__(limit)
        self._words = words
        self._begun = False

    def flush(self) -> list[str]:
        """Return what is left, for the text has ended; ready for another text afterwards."""
        rest = super().flush()
        self._begun = False
        return rest

    def _emit(self, end: int, found: list[str]) -> None:
        super()._emit(end, found)
        self._begun = self._begun or bool(found)

    def _certain_end(self) -> int:
        end = super()._certain_end()
        if end or self._begun or not _CLAUSE_END.search(self._text):
            return end
        is_long = len(self._text.split()) >= self._words or (
            not self._text.isascii() and len(self._text) > _CLAUSE_WIDE
        )
        return len(self._text) if is_long else 0


def speakable(text: str) -> str:
    """Return `text` on one line without Markdown marks and emoji; empty where nothing in it can be spoken."""
    text = _LEADING_MARKS.sub("", text.strip())
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub("", text)
    text = _RULES.sub(" ", text)
    text = " ".join(_EMOJI.sub(" ", text).split())
    return text if any(character.isalnum() for character in text) else ""


def _judge(text: str) -> _End:
    """Say whether `text`, which white space follows, ends a sentence."""
    token = text[-_LEAST:].split()[-1:] or [""]
    match = _ENDED.search(token[0])
    if not match:
        return _End.NEVER
    stops, closers = match["stops"], match["closers"]
    if stops != ".":
        sure = not closers and ("!" in stops or "?" in stops)
        return _End.SURE if sure else _End.IF_NEXT_STARTS_ONE
    word = token[0][: match.start()].lstrip(_OPENERS)
    if word.lower() in _TITLES or _is_initial(word) or _LIST_MARK.fullmatch(text):
        return _End.NEVER
    if word.lower() in _EITHER or "." in word:
        return _End.IF_NEXT_IS_NO_FIGURE
    return _End.IF_NEXT_STARTS_ONE if closers else _End.SURE


def _is_initial(word: str) -> bool:
    return len(word) == 1 and word.isupper() and word != "I"
