"""What was heard of an answer, to the word, and a gate that nothing gets through any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from doubles import HeldSpeaker
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import in_virtual_time

from edge_agent.audio import AudioChunk, silence
from edge_agent.pipeline.gate import Gate
from edge_agent.pipeline.speaking import Player, Rendered

RATE_HZ = 16_000


async def pieces(sentences: Sequence[tuple[str, Sequence[float]]]) -> AsyncIterator[Rendered]:
    """Yield sentences as chunks of these lengths."""
    for sentence, lengths_s in sentences:
        for length_s in lengths_s:
            yield Rendered(sentence, silence(length_s, RATE_HZ))
        yield Rendered(sentence, None)


def heard_after(sentences: Sequence[tuple[str, Sequence[float]]], played_s: float) -> str:
    """Return what was heard of sentences when so much had been played."""
    speaker = HeldSpeaker(held=True)
    gate = Gate(speaker)
    player = Player(gate, on_audio=lambda _: None)

    @in_virtual_time
    async def write() -> None:
        speaker.drain = no_drain  # type: ignore[method-assign]
        await player.play(pieces(sentences))

    async def no_drain() -> None:
        return

    write()
    for chunk in list(speaker.pending):
        part = min(chunk.duration_s, played_s)
        if part > 0:
            speaker.played.append(silence(part, RATE_HZ))
        played_s -= part
    return player.heard_text()


SENTENCES = (("one two three four", [1.0, 1.0]), ("five six", [1.0]))


def test_whole_sentences_and_the_words_of_the_one_that_was_cut_off() -> None:
    """Words are as long as their letters; one that was begun was not heard."""
    assert heard_after(SENTENCES, 0.0) == ""
    assert heard_after(SENTENCES, 1.0) == "one two"
    assert heard_after(SENTENCES, 2.0) == "one two three four"
    assert heard_after(SENTENCES, 2.6) == "one two three four five"
    assert heard_after(SENTENCES, 3.0) == "one two three four five six"


@given(
    st.lists(
        st.tuples(
            st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=6).map(" ".join),
            st.lists(st.floats(0.05, 1.0), min_size=1, max_size=3),
        ),
        max_size=5,
    ),
    st.floats(0, 20),
)
def test_what_was_heard_is_a_beginning_of_the_answer(sentences: list[tuple[str, list[float]]], played_s: float) -> None:
    """Whole words in order, more the longer it played, all of it at the end."""
    text = " ".join(sentence for sentence, _ in sentences)
    heard = heard_after(sentences, played_s)
    assert f"{text} ".startswith(f"{heard} " if heard else "")
    assert len(heard_after(sentences, played_s + 0.5)) >= len(heard)
    assert heard_after(sentences, 100.0) == text


@in_virtual_time
async def test_a_shut_gate_lets_nothing_through() -> None:
    """What is pending is dropped once, what comes later is refused and counted; hold and resume touch nobody else."""
    speaker = HeldSpeaker(held=True)
    gate = Gate(speaker)
    chunk = AudioChunk(b"\1\0" * 160, RATE_HZ)
    await gate.write(chunk)
    assert speaker.pending == [chunk]
    gate.shut()
    gate.shut()
    assert (speaker.pending, speaker.flushed) == ([], 1)
    await gate.write(chunk)
    await gate.drain()
    gate.hold()
    gate.resume()
    assert (speaker.pending, gate.refused, speaker.holds, speaker.resumes) == ([], 1, 0, 0)


@in_virtual_time
async def test_a_turn_that_leaves_takes_its_hold_with_it() -> None:
    """Its answer ended while somebody spoke: what comes next through another gate is heard. Unheld, nothing is lost."""
    speaker = HeldSpeaker()
    chunk = AudioChunk(b"\1\0" * 160, RATE_HZ)
    first = Gate(speaker)
    first.hold()
    first.leave()
    await Gate(speaker).write(chunk)
    assert (speaker.on_hold, speaker.played) == (False, [chunk])
    quiet = HeldSpeaker(held=True)
    for is_resumed in (False, True):
        gate = Gate(quiet)
        if is_resumed:
            gate.hold()
            gate.resume()
        await gate.write(chunk)
        gate.leave()
        gate.hold()
        await gate.write(chunk)
        assert gate.refused == 1
    assert (quiet.pending, quiet.flushed, quiet.on_hold) == ([chunk, chunk], 0, False)
