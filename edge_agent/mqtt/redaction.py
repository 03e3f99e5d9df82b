"""Takes out of a fault's message what must not leave the device: secrets always, and what was said unless allowed."""

from __future__ import annotations

import re
from collections import deque

_SECRETS = (
    (re.compile(r"//[^/@\s]+@"), "//"),
    (re.compile(r"\b(pass(?:word|wd)?|token|secret|credential|api[_-]?key)\b(\s*[=:]\s*)\S+", re.IGNORECASE), r"\1\2…"),
)
_QUOTED = re.compile(r"""(?<!\w)(['"]).*?(?:\1(?!\w)|$)|[\u201c\u2018].*?(?:[\u201d\u2019](?!\w)|$)""")
_DEFECT = re.compile(r"\b([A-Z]\w*(?:Error|Exception|Warning)): .*")
"""What an exception says that nobody raised on purpose may be anything."""
_WORD = re.compile(r"\w+")
_WORDS = 3
"""So many words in a row are somebody's, not chance."""
_LONG_WORD = 6
_IDEOGRAPHS = "\u2e80"
"""From here on characters are words, or nearly."""
_TEXTS = 32
_MOST_CHARACTERS = 500
_MOST_MESSAGE = 300
_WITHHELD = "a fault whose message holds what was said; the device's journal has it"


class Redactor:
    """Cleans messages. Belongs to the loop.

    What is in quotation marks is taken out, and what a defect says beside its kind. A message that even then has three
    words in a row of what was said or answered of late is withheld.

    Args:
        keeps_text: Only secrets are taken out.
    """

    def __init__(self, *, keeps_text: bool) -> None:
        self._keeps_text = keeps_text
        self._texts: deque[str] = deque(maxlen=_TEXTS)

    def note(self, text: str | None) -> None:
        """Remember what was said or answered."""
        if text and not self._keeps_text:
            self._texts.append(text[:_MOST_CHARACTERS])

    def clean(self, message: str) -> str:
        """Return what of `message` may be published, in one line of 300 characters at most."""
        message = " ".join(message[: 4 * _MOST_MESSAGE].split())
        for pattern, instead in _SECRETS:
            message = pattern.sub(instead, message)
        if not self._keeps_text:
            message = _QUOTED.sub("…", _DEFECT.sub(r"\1", message))
            shingles = _shingles(message)
            if any(not shingles.isdisjoint(_telling(text)) for text in self._texts):
                return _WITHHELD
        return message if len(message) <= _MOST_MESSAGE else f"{message[: _MOST_MESSAGE - 1]}…"


def _shingles(text: str) -> set[tuple[str, ...]]:
    """Return every run of one to three words."""
    words = _words(text)
    return {tuple(words[at : at + count]) for count in range(1, _WORDS + 1) for at in range(len(words) - count + 1)}


def _telling(text: str) -> set[tuple[str, ...]]:
    """Return the runs of words that give a text away."""
    words = _words(text)
    if len(words) >= _WORDS:
        return {tuple(words[at : at + _WORDS]) for at in range(len(words) - _WORDS + 1)}
    # One short word alone is in many a message.
    return {tuple(words)} if len(words) > 1 or (words and len(words[0]) >= _LONG_WORD) else set()


def _words(text: str) -> list[str]:
    words: list[str] = []
    for word in _WORD.findall(text.casefold()):
        words += list(word) if word[0] >= _IDEOGRAPHS else [word]
    return words
