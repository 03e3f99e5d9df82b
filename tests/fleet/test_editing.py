"""Two operators, one document."""

from __future__ import annotations

import random

import pytest

from edge_agent.fleet.document import Document, Edit
from edge_agent.fleet.editing import GRACE_S, SETTLE_S, Editing, Standing


def test_what_comes_back_alone_stands_after_a_moment() -> None:
    """Nobody else wrote."""
    editing = Editing([Edit("a", 1)], Document(4, {"b": 2}))
    editing.published(0.0)
    assert editing.hear(Document(5, {"a": 1, "b": 2}), 1.0) is None
    assert not editing.is_over(1.0 + SETTLE_S / 2)
    assert editing.is_over(1.0 + SETTLE_S)
    assert editing.standing is Standing.STANDS


def test_a_larger_revision_on_devices_is_passed_over() -> None:
    """A broker that lost its documents does not begin at 1 again."""
    assert Editing([Edit("a", 1)], Document(), floor=7).document.revision == 8


def test_who_comes_second_adds_to_the_first() -> None:
    """The one that overwrote puts both into one document."""
    editing = Editing([Edit("a", 1)], Document(4, {}))
    editing.published(0.0)
    assert editing.hear(Document(5, {"b": 2}), 0.1) is None
    assert editing.hear(Document(5, {"a": 1}), 0.2) == Document(6, {"a": 1, "b": 2})


def test_who_came_first_waits_for_the_second() -> None:
    """Overwritten, it goes on when its change comes back in the other's document."""
    editing = Editing([Edit("a", 1)], Document(4, {}))
    editing.published(0.0)
    editing.hear(Document(5, {"a": 1}), 0.1)
    editing.hear(Document(5, {"b": 2}), 0.2)
    assert editing.standing is Standing.LOST
    assert not editing.is_over(0.3)
    editing.hear(Document(6, {"a": 1, "b": 2}), 0.4)
    assert editing.is_over(0.4 + SETTLE_S)
    assert editing.document.revision == 6


def test_who_is_overwritten_for_good_is_told() -> None:
    """The other does not know our protocol, and its document stands."""
    editing = Editing([Edit("a", 1)], Document(4, {}))
    editing.published(0.0)
    editing.hear(Document(5, {"a": 1}), 0.1)
    editing.hear(Document(9, {"b": 2}), 0.2)
    assert editing.is_over(0.2 + GRACE_S)
    assert (editing.standing, editing.theirs) == (Standing.LOST, Document(9, {"b": 2}))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_operators_in_any_order_know_how_it_ended(count: int) -> None:
    """Of two that write at one moment both stand; of more, each knows whether its change is in the last document."""
    for seed in range(100):
        rng = random.Random(seed)
        editors = [Editing([Edit(key, 1)], Document(4, {})) for key in "abcde"[:count]]
        outgoing = [[editor.document] for editor in editors]
        for editor in editors:
            editor.published(0.0)
        at_s, document = 0.0, Document()
        while writers := [number for number in range(count) if outgoing[number]]:
            at_s += 0.01
            document = outgoing[rng.choice(writers)].pop(0)
            for number, editor in enumerate(editors):
                if (mended := editor.hear(document, at_s)) is not None:
                    editor.published(at_s)
                    outgoing[number].append(mended)
        assert all(editor.is_over(at_s + GRACE_S) for editor in editors), seed
        standing = {key for key, editor in zip("abcde", editors, strict=False) if editor.standing is Standing.STANDS}
        assert standing == set(document.patch), seed
        assert count > 2 or standing == {"a", "b"}, seed
