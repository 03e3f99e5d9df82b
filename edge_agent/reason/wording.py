"""What is said back, with places for slots.

`{slot}` is replaced by the slot's value, or by nothing where it was not said. `[a part in brackets]` is left out
unless every slot in it was said. Spaces are tidied afterwards, so nothing that is missing leaves a gap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    SlotValue = str | int | float

_TOKEN = re.compile(r"\{([^{}\[\]]*)\}|[\[\]{}]|[^{}\[\]]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SPACES = re.compile(r"\s+")
_TWO_STOPS = re.compile(r"(?<!\.)\.\.(?!\.)")
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[,.;:!?，。；：！？])")


class WordingError(ValueError):
    """The text is no valid reply template."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Literal text, or a slot's name."""

    text: str
    is_slot: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """A run of pieces; an optional one is left out unless all its slots were said."""

    pieces: tuple[_Piece, ...]
    optional: bool

    def render(self, slots: Mapping[str, SlotValue]) -> str:
        if self.optional and any(piece.is_slot and piece.text not in slots for piece in self.pieces):
            return ""
        return "".join(
            spoken_value(slots.get(piece.text, "")) if piece.is_slot else piece.text for piece in self.pieces
        )


@dataclass(frozen=True, slots=True)
class Wording:
    """One parsed reply template."""

    text: str
    parts: tuple[_Part, ...]

    @classmethod
    def parse(cls, text: str) -> Wording:
        """Parse a template.

        Raises:
            WordingError: A bracket or brace is not closed, brackets are nested, or a slot's name is not one.
        """
        parts: list[_Part] = []
        pieces: list[_Piece] = []
        optional = False
        for match in _TOKEN.finditer(text):
            piece_text = match.group()
            if piece_text in ("[", "]"):
                if (piece_text == "[") is optional:
                    raise WordingError("'[' inside '[...]'" if optional else "']' without '['")
                if optional and not any(piece.is_slot for piece in pieces):
                    raise WordingError("'[...]' holds no {slot}, so it would always be said")
                parts.append(_Part(tuple(pieces), optional))
                pieces, optional = [], not optional
            elif piece_text in ("{", "}"):
                raise WordingError("'{' is not closed" if piece_text == "{" else "'}' without '{'")
            elif match.group(1) is not None:
                if not _NAME.fullmatch(match.group(1)):
                    raise WordingError(f"{{{match.group(1)}}} is no slot name")
                pieces.append(_Piece(match.group(1), is_slot=True))
            else:
                pieces.append(_Piece(piece_text, is_slot=False))
        if optional:
            raise WordingError("'[' is not closed")
        parts.append(_Part(tuple(pieces), optional=False))
        return cls(text, tuple(part for part in parts if part.pieces))

    @property
    def slots(self) -> frozenset[str]:
        """Names of the slots that are filled in."""
        return frozenset(piece.text for part in self.parts for piece in part.pieces if piece.is_slot)

    def render(self, slots: Mapping[str, SlotValue]) -> str:
        """The text with the slots' values in it, tidied."""
        text = "".join(part.render(slots) for part in self.parts)
        text = _SPACE_BEFORE_MARK.sub("", _SPACES.sub(" ", text)).strip()
        # A value such as "ten a.m." may end the sentence.
        return _TWO_STOPS.sub(".", text)


class Answers:
    """Picks among several wordings of the same thing: each in its turn."""

    def __init__(self, responses: Mapping[str, Sequence[Wording]]) -> None:
        self._responses = responses
        self._turns: dict[str, int] = {}

    def say(self, name: str, slots: Mapping[str, SlotValue]) -> str:
        """A response as a sentence: it begins with a capital letter."""
        text = self.phrase(name, slots)
        return text[:1].upper() + text[1:]

    def phrase(self, name: str, slots: Mapping[str, SlotValue]) -> str:
        """A response as a part of a sentence."""
        return self.choose(name, self._responses[name], slots)

    def choose(self, key: str, wordings: Sequence[Wording], slots: Mapping[str, SlotValue]) -> str:
        """The next of several wordings; `key` tells whose turn is counted."""
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        return wordings[turn % len(wordings)].render(slots)


def spoken_value(value: SlotValue) -> str:
    """A slot's value as text; whole numbers have no fraction."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)
