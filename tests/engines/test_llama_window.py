"""Which turns are left out of a chat that is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.engines.llama_window import ChatWindow
from edge_agent.reason.llm import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

_SYSTEM = ChatMessage("system", "s" * 10)


def size(messages: Sequence[ChatMessage]) -> int:
    """A character a token."""
    return sum(len(message.content) for message in messages)


def chat(turns: int, tokens: int = 10, first: int = 0) -> tuple[ChatMessage, ...]:
    """A chat of turns of so many tokens, and a question of ten."""
    past = [
        message
        for number in range(first, turns)
        for message in (
            ChatMessage("user", f"{number}".rjust(tokens // 2, "u")),
            ChatMessage("assistant", f"{number}".rjust(tokens - tokens // 2, "a")),
        )
    ]
    return (_SYSTEM, *past, ChatMessage("user", "q" * 10))


def test_what_fits_stays_whole() -> None:
    """Not a turn is lost."""
    assert ChatWindow(size).fit(chat(8), 100) == chat(8)


def test_half_of_the_turns_go_at_once_and_stay_away() -> None:
    """The beginning changes once in five turns, and what was left out never comes back."""
    window = ChatWindow(size)
    beginnings = [window.fit(chat(turns), 100)[1] for turns in range(1, 25)]
    changes = [turns for turns in range(1, 24) if beginnings[turns] != beginnings[turns - 1]]
    assert changes == [8, 13, 18, 23]
    for turns in range(1, 25):
        assert window.fit(chat(turns), 100)[-1] == chat(turns)[-1]


def test_a_warm_up_of_the_system_prompt_does_not_bring_old_turns_back() -> None:
    """Chats that begin otherwise are let through, and forgotten."""
    window = ChatWindow(size)
    short = window.fit(chat(9), 100)
    assert len(short) < len(chat(9))
    assert window.fit((_SYSTEM, ChatMessage("user", "a")), 100) == (_SYSTEM, ChatMessage("user", "a"))
    assert window.fit(chat(9), 1000) == short


def test_another_chat_is_shown_whole() -> None:
    """One that does not begin with what was left out of the last."""
    window = ChatWindow(size)
    window.fit(chat(9), 100)
    assert window.fit(chat(14, first=6), 100) == chat(14, first=6)


def test_the_newest_turn_stays_where_it_can() -> None:
    """Though it be more than half of the room."""
    window = ChatWindow(size)
    long = (_SYSTEM, *chat(3)[1:-1], ChatMessage("user", "u" * 30), ChatMessage("assistant", "a" * 30), chat(0)[-1])
    assert window.fit(long, 90) == (_SYSTEM, *long[-3:])
    assert window.fit(long, 60) == (_SYSTEM, long[-1])


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(0, 120), st.integers(0, 3))
def test_the_rest_is_the_chats_end_and_fits(lengths: list[int], wanted: int, systems: int) -> None:
    """Whole turns, in order, with all system prompts; too long only where nothing is left to leave out."""
    turns = [
        message
        for number, tokens in enumerate(lengths)
        for message in (ChatMessage("user", "u" * tokens), ChatMessage("assistant", chr(97 + number) * tokens))
    ]
    head = (_SYSTEM,) * systems
    messages = (*head, *turns, ChatMessage("user", "q"))
    kept = ChatWindow(size).fit(messages, wanted)
    assert kept[:systems] == head
    assert kept[systems:] == messages[len(messages) - (len(kept) - systems) :]
    assert len(kept) % 2 == (systems + 1) % 2
    assert size(kept) <= wanted or len(kept) == systems + 1


def test_answers_without_a_question_go_with_the_turn_before() -> None:
    """Two answers in a row are one turn's."""
    window = ChatWindow(size)
    messages = (
        ChatMessage("user", "u" * 20),
        ChatMessage("assistant", "a" * 20),
        ChatMessage("assistant", "b" * 20),
        ChatMessage("user", "q"),
    )
    assert window.fit(messages, 50) == messages[-1:]
