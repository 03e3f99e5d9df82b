"""What was said so far, as the language model is shown it."""

from __future__ import annotations

from edge_agent.reason.llm import ChatMessage


class History:
    """The last turns, `turns` at most: what was asked, and of the answer what was heard.

        turns = 6:   1 2 3 4 5 6 | 5 6 7 | 5 6 7 8 9 10 | 9 10 11 …

    Where a turn is one too many, not only the oldest goes but half of them: the others then stand for some turns where
    they stand, and the model need not evaluate the whole chat again each time.

    Pure; belongs to one thread.
    """

    def __init__(self, turns: int) -> None:
        self._most = turns
        self._turns: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self._turns)

    def resize(self, turns: int) -> None:
        """Keep `turns` at most from now on; where that is fewer, the oldest go."""
        self._most = turns
        del self._turns[: max(0, len(self._turns) - turns)]

    def add(self, user: str, assistant: str) -> None:
        """Remember a turn; one whose answer was interrupted before a word was heard leaves no trace.

        Chat templates want strictly alternating roles, so that half a turn can't be kept.
        """
        if user.strip() and assistant.strip():
            self._turns.append((user.strip(), assistant.strip()))
        if len(self._turns) > self._most:
            del self._turns[: len(self._turns) - (self._most + 1) // 2]

    def messages(self, system_prompt: str, text: str, hint: str | None = None) -> tuple[ChatMessage, ...]:
        """Return the chat that ends with the user's `text`.

        A `hint` goes in front of `text`: the system prompt stays the same from turn to turn, so that the model's
        cached prefix stays valid, and many chat templates take no second system message.
        """
        opening = [ChatMessage("system", system_prompt)] if system_prompt.strip() else []
        past = [
            message
            for user, assistant in self._turns
            for message in (ChatMessage("user", user), ChatMessage("assistant", assistant))
        ]
        asked = f"{hint.strip()}\n\n{text}" if hint and hint.strip() else text
        return (*opening, *past, ChatMessage("user", asked))

    def clear(self) -> None:
        """Forget everything."""
        self._turns.clear()
