"""One intents file, its shape checked, that knows the line of each of its keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pydantic import ValidationError

from edge_agent.config.suggest import suggest
from edge_agent.errors import IntentsFileError
from edge_agent.reason.intents_schema import FileContent, plain_problem
from edge_agent.reason.wording import Wording, WordingError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.reason.yaml_text import Key, YamlText


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose shape is right."""

    path: Path
    content: FileContent
    text: YamlText

    @classmethod
    def check(cls, path: Path, text: YamlText) -> SourceFile:
        """Check the shape of a file.

        Raises:
            IntentsFileError: It is wrong; the first problem is named.
        """
        try:
            return cls(path, FileContent.model_validate(text.value), text)
        except ValidationError as error:
            problems = [plain_problem(entry) for entry in error.errors(include_url=False)]
            key, message = min(problems, key=lambda problem: text.line(problem[0]))
            where = f"line {text.line(key)}: {_dotted(key)}: "
            raise IntentsFileError(path, where + message) from error

    def refuse(self, key: Key, message: str) -> NoReturn:
        """Raise IntentsFileError for a key."""
        raise IntentsFileError(self.path, f"line {self.text.line(key)}: {_dotted(key)}: {message}")

    def wordings(self, key: Key, texts: Iterable[str], slots: frozenset[str], owner: str) -> tuple[Wording, ...]:
        """Parse replies and see that `owner` fills every slot in them; refuse them otherwise."""
        parsed: list[Wording] = []
        for index, text in enumerate(texts):
            where = (*key, index) if (*key, index) in self.text.lines else key
            try:
                wording = Wording.parse(text)
            except WordingError as error:
                self.refuse(where, f"{text!r}: {error}")
            for slot in sorted(wording.slots - slots):
                there_are = ", ".join(sorted(slots)) or "none"
                self.refuse(
                    where, f"{text!r}: {owner} can't fill {{{slot}}} (there are: {there_are}){suggest(slot, slots)}"
                )
            parsed.append(wording)
        return tuple(parsed)


def _dotted(key: Key) -> str:
    text = ""
    for part in key:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
