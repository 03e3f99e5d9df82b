"""What is asked of whoever sits at the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from edge_agent.app.setup.errors import BadAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.app.doctor.levels import Level

T = TypeVar("T")


class Person(Protocol):
    """Somebody who reads and answers. Blocking; KeyboardInterrupt or click's Abort when they have enough."""

    def head(self, title: str) -> None:
        """Begin with another subject."""
        ...

    def tell(self, text: str) -> None:
        """Say something."""
        ...

    def warn(self, text: str) -> None:
        """Say what is not as it should be."""
        ...

    def ask(self, question: str, default: str) -> str:
        """Ask for a line; Enter takes the default."""
        ...

    def pick(self, question: str, options: Sequence[str], default: int) -> int:
        """Have one of a numbered list chosen, and return its place, counted from 0."""
        ...

    def confirm(self, question: str, *, default: bool) -> bool:
        """Ask for a yes or a no."""
        ...

    def secret(self, question: str) -> str:
        """Ask for what is not to be seen; empty where nothing was typed."""
        ...

    def show(self, level: Level | None) -> None:
        """Move the meter; None puts it away."""
        ...


def ask_until(person: Person, question: str, default: str, parse: Callable[[str], T]) -> T:
    """Ask until `parse` takes the answer; what is wrong with one that it does not take is told in a line."""
    while True:
        try:
            return parse(person.ask(question, default))
        except BadAnswerError as error:
            person.warn(str(error))
