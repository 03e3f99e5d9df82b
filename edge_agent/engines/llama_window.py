"""Which turns of a chat the language model is shown, where not all fit its context."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.reason.llm import ChatMessage

    Chat = tuple[ChatMessage, ...]


class ChatWindow:
    """Leaves out the oldest turns of a chat that is too long, many at once, and the same ones in the next chat.

        turns     1 2 3 4 5 6 | 7 does not fit: 1 to 4 go | 5 6 7 8 9 | 10 does not fit …

    If a turn went with every new one, nothing of the last prompt but the system prompt would stand where it stood, and
    all of it would have to be evaluated again. Dropped are so many that the others take half of the room which the
    system prompt and the question leave, the newest turn excepted.

    Args:
        count: Returns how many tokens the prompt of a chat has.
    """

    def __init__(self, count: Callable[[Sequence[ChatMessage]], int]) -> None:
        self._count = count
        self._dropped: Chat = ()

    def fit(self, messages: Sequence[ChatMessage], wanted: int) -> Chat:
        """Return the chat without the turns that have to go for it to have `wanted` tokens.

        The system prompt and the last message stay; a chat of these alone may be longer than wanted.
        """
        head = next((at for at, message in enumerate(messages[:-1]) if message.role != "system"), len(messages) - 1)
        system, turns, last = tuple(messages[:head]), tuple(messages[head:-1]), tuple(messages[-1:])
        kept = turns[len(self._dropped) :] if turns[: len(self._dropped)] == self._dropped else turns
        size = self._count((*system, *kept, *last))
        if size <= wanted:
            return (*system, *kept, *last)
        fixed = self._count((*system, *last))
        target = fixed + max(0, wanted - fixed) // 2
        while kept and size > target:
            fewer = _without_oldest(kept)
            if not fewer and size <= wanted:
                break
            kept = fewer
            size = self._count((*system, *kept, *last))
        self._dropped = turns[: len(turns) - len(kept)]
        return (*system, *kept, *last)


def _without_oldest(turns: Chat) -> Chat:
    """Return `turns` without the first user message and what answers it."""
    first = next((at for at, message in enumerate(turns) if at and message.role != "assistant"), len(turns))
    return turns[first:]
