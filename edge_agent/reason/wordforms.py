"""Text as it is said: lower-case words, numbers spelled out."""

from __future__ import annotations

import logging
import re
from functools import lru_cache

_log = logging.getLogger(__name__)

_NOT_SPOKEN = re.compile(r"[^\w\s']|_|(?<!\w)'|'(?!\w)")
_DIGITS = re.compile(r"\d+")


def spoken(text: str, language: str) -> str:
    """Return `text` as it is said: lower case, numbers as words, no punctuation but inner apostrophes."""
    text = text.lower().replace("’", "'")
    if language == "en":
        text = text.replace("%", " percent ").replace("°", " degrees ")
    text = _DIGITS.sub(lambda digits: f" {number_words(int(digits[0]), language)} ", text)
    return " ".join(_NOT_SPOKEN.sub(" ", text).split())


@lru_cache(maxsize=20_000)
def number_words(number: int, language: str) -> str:
    """Return how `number` is said; its digits where the language's number words are not known."""
    from hassil.numbers import get_rbnf_engine

    try:
        engine = get_rbnf_engine(language)
    except ValueError:
        _log.warning("no number words for language %r: %d stays in digits", language, number)
        return str(number)
    return engine.format_number(number).text.replace("-", " ").lower()
