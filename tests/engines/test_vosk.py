"""Vosk with a small real model."""

from __future__ import annotations

import itertools
import logging
import random
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.config.engines import VoskConfig
from edge_agent.engines.vosk import VoskRecognizer
from edge_agent.engines.vosk_decoder import VoskDecoder
from edge_agent.engines.vosk_second import SecondReading
from edge_agent.errors import ModelError, RecognitionError
from edge_agent.grammar import Grammar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.events import Transcript, Word

pytest.importorskip("vosk", reason="vosk is not installed")

_DIGITS = "oh zero one two three four five six seven eight nine".split()  # noqa: SIM905
_HOME = Grammar(
    (
        *(f"turn {state} the {thing}" for state in ("on", "off") for thing in ("lamp", "fan", "light")),
        *(f"set a timer for {number} {unit}" for number in ("five", "ten", "twenty") for unit in ("minutes", "hours")),
        "what time is it",
        "what's the date today",
        "stop",
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def model(models_dir: Path) -> Path:
    """The model's directory."""
    return models_dir / "vosk-sphinx-en"


@pytest.fixture(scope="module")
def recognizer(model: Path) -> Iterator[VoskRecognizer]:
    """One loaded recognizer for the tests, each of which loads its grammar."""
    vosk = VoskRecognizer(VoskConfig(), model)
    yield vosk
    vosk.close()


def digits() -> Grammar:
    """Strings of five digits."""
    generator = random.Random(0)
    return Grammar(tuple(" ".join(generator.choices(_DIGITS, k=5)) for _ in range(500)))


def frames(path: Path) -> Iterator[AudioChunk]:
    """Yield a recording in 20 ms frames, then half a second of silence."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (HEAR_RATE_HZ, 1)
        pcm = file.readframes(file.getnframes()) + bytes(HEAR_RATE_HZ)
    for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
        yield AudioChunk(pcm[at : at + FRAME_BYTES], HEAR_RATE_HZ)


def hear(recognizer: VoskRecognizer, path: Path) -> tuple[Transcript, list[str]]:
    """Return the final transcript and the partial ones."""
    recognizer.start()
    partials = [partial.text for frame in frames(path) if (partial := recognizer.accept(frame)) is not None]
    return recognizer.finish(), partials


def test_digits_are_heard_without_an_error(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """Three utterances in one recording: what Vosk cuts apart is joined again, and partials only grow."""
    recognizer.load(digits())
    transcript, partials = hear(recognizer, speech_dir / "digits" / "test.wav")
    assert transcript.text == "one zero zero zero one nine oh two one oh zero one eight zero three"
    assert transcript.in_grammar
    assert transcript.confidence is not None
    assert transcript.confidence > 0.9
    assert [word.text for word in transcript.words] == transcript.text.split()
    assert len(partials) > 5
    assert partials[-1].split()[:10] == transcript.text.split()[:10]


def test_partials_are_marked_and_come_only_when_they_change(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """No two in a row are alike."""
    recognizer.load(_HOME)
    recognizer.start()
    partials = [found for frame in frames(speech_dir / "home" / "set_timer.wav") if (found := recognizer.accept(frame))]
    assert not any(partial.final for partial in partials)
    texts = [partial.text for partial in partials]
    assert all(one != other for one, other in itertools.pairwise(texts))


@pytest.mark.parametrize(
    ("clip", "text"),
    [
        ("turn_on_the_lamp", "turn on the lamp"),
        ("set_timer", "set a timer for ten minutes"),
        ("whats_the_date_today", "what's the date today"),
    ],
)
def test_commands_of_the_grammar_are_heard(recognizer: VoskRecognizer, speech_dir: Path, clip: str, text: str) -> None:
    """Word for word, as a closed reading."""
    recognizer.load(_HOME)
    transcript, _ = hear(recognizer, speech_dir / "home" / f"{clip}.wav")
    assert (transcript.text, transcript.in_grammar) == (text, True)


@pytest.mark.parametrize("clip", ["read/librivox-0880", "home/porcupine", "cards/003", "wake/hey_jarvis-1"])
def test_other_speech_is_no_command(recognizer: VoskRecognizer, speech_dir: Path, clip: str) -> None:
    """It comes out as free dictation."""
    recognizer.load(_HOME)
    transcript, _ = hear(recognizer, speech_dir / f"{clip}.wav")
    assert not transcript.in_grammar
    assert transcript.text not in _HOME.sentences


def test_speech_is_not_taken_for_digits(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """The closed reading is full of digits said with confidence; the free one wins."""
    recognizer.load(digits())
    transcript, partials = hear(recognizer, speech_dir / "read" / "jfk.wav")
    assert not transcript.in_grammar
    assert "what your country can do for you" in transcript.text
    assert set(partials[-1].split()) <= set(_DIGITS)


@pytest.mark.parametrize("volume", [0, 300])
def test_silence_and_noise_are_no_command(recognizer: VoskRecognizer, volume: int) -> None:
    """Two seconds of them hold no sentence of the grammar."""
    recognizer.load(_HOME)
    recognizer.start()
    noise = random.Random(1)
    for _ in range(100):
        samples = [round(noise.gauss(0, volume)) for _ in range(FRAME_BYTES // 2)]
        recognizer.accept(AudioChunk(b"".join(s.to_bytes(2, "little", signed=True) for s in samples), HEAR_RATE_HZ))
    transcript = recognizer.finish()
    assert transcript.text not in _HOME.sentences


def test_start_drops_what_was_heard_before(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """An abandoned utterance leaves nothing behind."""
    recognizer.load(_HOME)
    recognizer.start()
    for frame in frames(speech_dir / "home" / "set_timer.wav"):
        recognizer.accept(frame)
    recognizer.start()
    transcript = recognizer.finish()
    assert (transcript.text, transcript.words, transcript.in_grammar) == ("", (), False)


def same(one: Transcript, other: Transcript) -> bool:
    """Tell whether two transcripts are alike, but for what comes of the free decoding.

    That prunes otherwise from time to time, since Vosk unfolds its graph as it is used; times it counts over all
    utterances, and rounds them.
    """
    if (one.text, one.in_grammar) != (other.text, other.in_grammar):
        return False
    times = [[word.start_s for word in transcript.words] for transcript in (one, other)]
    return not one.in_grammar or (one.confidence == other.confidence and times[0] == pytest.approx(times[1], abs=1e-3))


def test_a_dropped_utterance_is_in_no_later_one(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """Not a word of it, and it shifts no word's time; Vosk itself counts on, and keeps what it has not decoded yet."""
    recognizer.load(digits())
    path = speech_dir / "digits" / "test.wav"
    alone, _ = hear(recognizer, path)
    recognizer.start()
    for frame in itertools.islice(frames(path), 220):
        recognizer.accept(frame)
    assert same(hear(recognizer, path)[0], alone)


@pytest.mark.parametrize(
    ("grammar", "clip"), [(digits(), "digits/test.wav"), (None, "home/this_is_a_test.wav")], ids=["closed", "free"]
)
def test_a_preview_changes_nothing_later(
    recognizer: VoskRecognizer, speech_dir: Path, grammar: Grammar | None, clip: str
) -> None:
    """Closed, it is what finishing there gives, in free dictation its words; who goes on hears the same as without."""
    recognizer.load(grammar)
    whole, partials = hear(recognizer, speech_dir / clip)
    heard = list(frames(speech_dir / clip))
    cuts = (0, len(heard) // 2)
    recognizer.start()
    found: list[str] = []
    previews: list[Transcript] = []
    for n, frame in enumerate(heard):
        if n in cuts:
            previews.append(recognizer.preview())
            assert recognizer.preview() == previews[-1]
            assert previews[-1].final == (grammar is not None)
        if partial := recognizer.accept(frame):
            found.append(partial.text)
    assert recognizer.preview().text == whole.text
    assert same(recognizer.finish(), whole)
    assert found
    expected = iter(partials)
    assert grammar is None or all(text in expected for text in found), "in order, and no others"
    for cut, preview in zip(cuts, previews, strict=True):
        recognizer.start()
        for frame in heard[:cut]:
            recognizer.accept(frame)
        finished = recognizer.finish()
        # What is not final may still be taken for something else in the middle of a word, and is not at its end.
        assert not preview.final or same(finished, preview)


def test_a_thorough_preview_of_free_dictation_is_final(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """It is what finishing there gives, and changes nothing later; of long dictation it stays a guess."""
    recognizer.load(None)
    clip = speech_dir / "home/this_is_a_test.wav"
    whole, _ = hear(recognizer, clip)
    heard = list(frames(clip))
    recognizer.start()
    for n, frame in enumerate(heard):
        if n == len(heard) // 5:
            early = recognizer.preview(thorough=True)
        recognizer.accept(frame)
    sure = recognizer.preview(thorough=True)
    assert early.final
    assert early.text != sure.text
    assert sure.final
    assert same(sure, whole)
    assert recognizer.preview() is sure
    assert recognizer.finish() is sure
    recognizer.start()
    for frame in heard:
        recognizer.accept(frame)
    for _ in range(round(6.0 / frame.duration_s)):
        recognizer.accept(AudioChunk(bytes(len(frame.pcm)), frame.rate_hz))
    assert not recognizer.preview(thorough=True).final


def test_finishing_after_a_preview_decodes_nothing(
    recognizer: VoskRecognizer, speech_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transcript is taken; the next utterance has none of it."""
    recognizer.load(_HOME)
    recognizer.start()
    for frame in frames(speech_dir / "home" / "set_timer.wav"):
        recognizer.accept(frame)
    preview = recognizer.preview()
    with monkeypatch.context() as patch:
        patch.setattr(VoskDecoder, "end", None)
        patch.setattr(VoskDecoder, "take", None)
        assert recognizer.finish() is preview
    assert preview.text == "set a timer for ten minutes"
    assert recognizer.preview().text == ""
    assert recognizer.finish().text == ""


def test_catching_up_after_a_preview_is_bounded(
    recognizer: VoskRecognizer, speech_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call decodes more than five times the audio that it is given, each piece once, in order."""
    recognizer.load(_HOME)
    heard = list(frames(speech_dir / "home" / "set_timer.wav"))
    recognizer.start()
    for frame in heard[:100]:
        recognizer.accept(frame)
    recognizer.preview()
    taken: list[bytes] = []

    def note(pcm: bytes) -> list[Word]:
        taken.append(pcm)
        return []

    monkeypatch.setattr(recognizer._closed, "take", note)
    sizes = []
    for frame in heard[100:]:
        before = len(taken)
        recognizer.accept(frame)
        sizes.append(len(taken) - before)
    assert sizes[:25] == [5] * 25, "twenty-five calls gain a hundred frames"
    assert set(sizes[25:]) == {1}
    assert taken == [frame.pcm for frame in heard]
    monkeypatch.undo()
    recognizer.start()


def test_without_a_grammar_it_listens_freely(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """Dictation is never marked as a closed reading."""
    recognizer.load(None)
    transcript, _ = hear(recognizer, speech_dir / "home" / "this_is_a_test.wav")
    assert (transcript.text, transcript.in_grammar) == ("this is a test", False)


def test_unknown_words_are_named_once_and_left_out(
    recognizer: VoskRecognizer, speech_dir: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line of ours, none of Kaldi's; the rest of the grammar works."""
    with caplog.at_level(logging.WARNING):
        recognizer.load(Grammar((*_HOME.sentences, "make an espresso", "brew espresso and ristretto")))
    assert [record.getMessage().partition(" does not know ")[2][:50] for record in caplog.records] == [
        "'brew', 'espresso', 'ristretto': sentences with th"
    ]
    transcript, _ = hear(recognizer, speech_dir / "home" / "turn_on_the_lamp.wav")
    assert transcript.text == "turn on the lamp"
    assert capfd.readouterr().err == ""


def stopped(recognizer: VoskRecognizer, call: Callable[[], object]) -> BaseException | None:
    """Make a call on another thread, stop it until it ends, and return its error."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(call)
        while not running.done():
            recognizer.stop()
            time.sleep(0.002)
        return running.exception()


def test_stop_ends_the_free_decoding(recognizer: VoskRecognizer, speech_dir: Path) -> None:
    """The utterance is lost, the next ones are heard; a stop between two calls is for neither."""
    recognizer.load(_HOME)
    recognizer.start()
    quiet = AudioChunk(bytes(2 * HEAR_RATE_HZ), HEAR_RATE_HZ)
    recognizer.accept(quiet)
    error = stopped(recognizer, recognizer.finish)
    assert isinstance(error, RecognitionError)
    assert "was stopped" in str(error)
    recognizer.stop()
    recognizer.accept(quiet)
    assert recognizer.finish().in_grammar is False
    transcript, _ = hear(recognizer, speech_dir / "home" / "set_timer.wav")
    assert transcript.text == "set a timer for ten minutes"


def test_audio_of_another_rate_is_refused(recognizer: VoskRecognizer) -> None:
    """It would be heard as something else."""
    recognizer.load(_HOME)
    with pytest.raises(RecognitionError, match="16000"):
        recognizer.accept(AudioChunk(bytes(100), 8000))


def test_an_unloaded_or_closed_recognizer_says_so(model: Path) -> None:
    """Not an attribute error; closing twice is fine."""
    recognizer = VoskRecognizer(VoskConfig(), model)
    recognizer.close()
    recognizer.close()
    with pytest.raises(RecognitionError, match="not loaded"):
        recognizer.accept(AudioChunk(bytes(640), HEAR_RATE_HZ))
    with pytest.raises(RecognitionError, match="not loaded"):
        recognizer.finish()


def damaged(model: Path, place: Path, name: str, keep: float | None) -> Path:
    """Link the model to `place`, with that share of the file `name`, or without the file."""
    for source in model.rglob("*"):
        target = place / source.relative_to(model)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif source != model / name:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    if keep is not None:
        content = (model / name).read_bytes()
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content[: int(len(content) * keep)])
    return place


def test_a_stopped_preview_can_be_made_again(
    recognizer: VoskRecognizer, speech_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a new utterance begun: nothing of the stopped one is in it."""
    recognizer.load(_HOME)
    # A machine that is too slow to read freely alongside has that to do in the preview.
    monkeypatch.setattr(SecondReading, "keep_up", lambda _reading: None)
    recognizer.start()
    for frame in itertools.islice(frames(speech_dir / "read" / "jfk.wav"), 150):
        recognizer.accept(frame)
    error = stopped(recognizer, recognizer.preview)
    assert isinstance(error, RecognitionError)
    assert "was stopped" in str(error)
    assert "fellow americans" in recognizer.preview().text
    transcript, _ = hear(recognizer, speech_dir / "home" / "set_timer.wav")
    assert transcript.text == "set a timer for ten minutes"


def test_stop_ends_the_probe_of_a_model(model: Path, tmp_path: Path, speech_dir: Path) -> None:
    """Nothing is held against the model: it is loaded the next time."""
    place = damaged(model, tmp_path / "model", "graph/Gr.fst", 1.0)
    recognizer = VoskRecognizer(VoskConfig(), place)
    error = stopped(recognizer, lambda: recognizer.load(_HOME))
    assert isinstance(error, RecognitionError)
    assert "was stopped" in str(error)
    assert not any(str(place) in child.cmdline() for child in psutil.Process().children())
    with pytest.raises(RecognitionError, match="not loaded"):
        recognizer.finish()
    recognizer.load(_HOME)
    transcript, _ = hear(recognizer, speech_dir / "home" / "set_timer.wav")
    assert transcript.text == "set a timer for ten minutes"
    recognizer.close()


def refusal(place: Path) -> str:
    """Return the message with which the model is refused; one line that names the place and what to do."""
    with pytest.raises(ModelError) as caught:
        VoskRecognizer(VoskConfig(), place).load(None)
    message = str(caught.value)
    assert "\n" not in message
    assert str(place) in message
    assert "asr.vosk.model" in message
    return message


_FILES = (
    "am/final.mdl",
    "am/global_cmvn.stats",
    "conf/mfcc.conf",
    "conf/model.conf",
    "graph/Gr.fst",
    "graph/HCLr.fst",
    "graph/disambig_tid.int",
    "graph/phones/word_boundary.int",
    "graph/words.txt",
)


@pytest.mark.parametrize("name", _FILES)
def test_a_model_without_one_of_its_files_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    """The missing file is named."""
    assert name in refusal(damaged(model, tmp_path / "model", name, None))


@pytest.mark.parametrize("name", ["am/final.mdl", "am/global_cmvn.stats", "graph/Gr.fst", "graph/HCLr.fst"])
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.1, 0.5, 0.99, 0.99999])
def test_a_half_copied_binary_file_is_refused(model: Path, tmp_path: Path, name: str, keep: float) -> None:
    """Also HCLr.fst, of which Kaldi dies, and Gr.fst, which it takes in silence."""
    refusal(damaged(model, tmp_path / "model", name, keep))


@pytest.mark.parametrize("name", ["graph/words.txt", "graph/phones/word_boundary.int", "graph/disambig_tid.int"])
@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.8])
def test_a_half_copied_table_is_refused(model: Path, tmp_path: Path, name: str, keep: float) -> None:
    """The tables must fit the graph and the acoustic model."""
    assert name in refusal(damaged(model, tmp_path / "model", name, keep))


@pytest.mark.parametrize("name", ["conf/mfcc.conf", "conf/model.conf"])
def test_a_half_copied_option_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    """A name without a value can't be meant."""
    assert "broken line" in refusal(damaged(model, tmp_path / "model", name, 0.5))


def test_a_place_without_a_model_is_refused(tmp_path: Path) -> None:
    """Absent, a file, empty, or full of other things."""
    assert "no such directory" in refusal(tmp_path / "absent")
    (tmp_path / "file").write_text("hello")
    assert "not a directory" in refusal(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "am/final.mdl is missing" in refusal(tmp_path / "empty")


def test_a_model_that_was_damaged_after_it_passed_is_tried_again(model: Path, tmp_path: Path) -> None:
    """A good verdict holds for unchanged files only."""
    place = damaged(model, tmp_path / "model", "graph/Gr.fst", 1.0)
    recognizer = VoskRecognizer(VoskConfig(), place)
    recognizer.load(None)
    recognizer.load(_HOME)
    (place / "graph/Gr.fst").write_bytes(b"half a copy")
    with pytest.raises(ModelError, match=r"graph/Gr\.fst"):
        recognizer.load(_HOME)
    recognizer.close()
