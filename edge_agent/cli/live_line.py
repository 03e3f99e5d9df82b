"""The last line on a terminal, drawn again and again; what is printed meanwhile goes above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class LiveLine:
    """Where the output is no terminal, or nothing is to be shown, it draws nothing.

    Args:
        console: Whose last line it is.
        is_shown: False draws nothing.

    Attributes:
        is_possible: Whether it draws once it is started.
    """

    def __init__(self, console: Console, *, is_shown: bool = True) -> None:
        self._console = console
        self.is_possible = is_shown and console.is_terminal
        self._live: Live | None = None

    @property
    def is_on(self) -> bool:
        """Whether it draws."""
        return self._live is not None

    def start(self) -> None:
        """Draw from now on."""
        if self.is_possible and self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def stop(self) -> None:
        """Leave nothing of it behind; again is allowed."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def draw(self, line: RenderableType) -> None:
        """Replace what is there."""
        if self._live is not None:
            self._live.update(line, refresh=True)
