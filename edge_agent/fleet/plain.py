"""Text from devices, made fit for a terminal and a line of a table."""

from __future__ import annotations

import unicodedata

_STAND_IN = "\ufffd"
_MOST_MARKS = 2
"""Combining marks in a row; more of them climb over the neighbouring lines."""


def plain(text: str, most: int = 200) -> str:
    """Return `text` as one line of at most `most` characters that no terminal takes for an order.

    Control characters, escape sequences' first bytes, characters that change the direction of writing or have no width,
    and lone surrogates become U+FFFD; any run of spaces becomes one.
    """
    cut = text[: most + 1]
    if not (cut.isascii() and cut.isprintable() and "  " not in cut):
        cut = " ".join(_printable(cut).split())
    return cut if len(cut) <= most else f"{cut[: most - 1]}…"


def _printable(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category.startswith("M") else 0
        if marks > _MOST_MARKS:
            continue
        is_space = category == "Zs" or character in "\t\n\r"
        kept.append(" " if is_space else _STAND_IN if category[0] in "CZ" else character)
    return "".join(kept)
