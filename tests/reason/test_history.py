"""What the language model is shown of the past."""

from __future__ import annotations

from edge_agent.reason.history import History
from edge_agent.reason.llm import ChatMessage


def test_the_past_stands_between_the_system_prompt_and_the_question() -> None:
    """Roles alternate, oldest turn first."""
    history = History(3)
    history.add("hello", "hi there")
    assert history.messages("be kind", "how are you") == (
        ChatMessage("system", "be kind"),
        ChatMessage("user", "hello"),
        ChatMessage("assistant", "hi there"),
        ChatMessage("user", "how are you"),
    )


def contents(history: History) -> list[str]:
    """Return the questions that are remembered."""
    return [message.content for message in history.messages("", "now")[:-1:2]]


def test_only_the_last_turns_are_kept() -> None:
    """A turn goes as a whole, and half of them at once: the beginning stays the same for some turns."""
    history = History(4)
    seen = []
    for number in range(9):
        history.add(str(number), "Yes.")
        seen.append("".join(contents(history)))
        assert len(history) <= 4
    assert seen == ["0", "01", "012", "0123", "34", "345", "3456", "67", "678"]


def test_a_history_of_one_turn_keeps_the_last() -> None:
    """Half of one is one."""
    history = History(1)
    for number in range(3):
        history.add(str(number), "Yes.")
        assert contents(history) == [str(number)]


def test_no_turns_are_kept_where_none_are_wanted() -> None:
    """A history of 0 turns is a history."""
    history = History(0)
    history.add("question", "answer")
    assert history.messages("", "now") == (ChatMessage("user", "now"),)


def test_a_turn_of_which_nothing_was_heard_leaves_no_trace() -> None:
    """Half a turn would break the alternation of roles."""
    history = History(2)
    history.add("question", "  ")
    assert len(history) == 0


def test_a_hint_goes_with_the_question_and_is_not_remembered() -> None:
    """The system prompt, which the model caches, stays the same."""
    history = History(2)
    messages = history.messages("be kind", "a joke", hint="Answer with a pun.")
    assert messages[0] == ChatMessage("system", "be kind")
    assert messages[-1] == ChatMessage("user", "Answer with a pun.\n\na joke")
    assert history.messages("be kind", "again")[-1].content == "again"


def test_clear_forgets_everything() -> None:
    """Afterwards there is no past."""
    history = History(2)
    history.add("question", "answer")
    history.clear()
    assert history.messages("", "now") == (ChatMessage("user", "now"),)


def test_it_can_be_made_shorter_and_longer() -> None:
    """The oldest turns go at once; there is room for more from then on."""
    history = History(4)
    for number in range(4):
        history.add(f"{number}", "yes")
    history.resize(2)
    assert contents(history) == ["2", "3"]
    history.resize(3)
    history.add("4", "yes")
    assert contents(history) == ["2", "3", "4"]
    history.resize(0)
    assert contents(history) == []
