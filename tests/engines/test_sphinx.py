"""PocketSphinx in its child process, on speech rendered by Flite."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from pocketsphinx import get_model_path

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk, silence
from edge_agent.config.engines import PocketSphinxConfig
from edge_agent.engines.sphinx import PocketSphinxRecognizer, confidence_of
from edge_agent.engines.sphinx_decode import Readings, UtteranceDecoder
from edge_agent.errors import ModelError, RecognitionError
from edge_agent.grammar import Grammar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.events import Transcript

COMMANDS = (
    "what time is it",
    "what's the date today",
    "turn on the lamp",
    "turn off the lamp",
    "set a timer for ten minutes",
    "set a timer for twenty five minutes",
    "stop the music",
    "never mind",
)
GRAMMAR = Grammar(sentences=COMMANDS * 5, phrases=("never mind",))
BOUND_S = 5.0


@pytest.fixture(scope="session")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Render a sentence with Flite, 16 kHz."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("flite is not installed")
    directory = tmp_path_factory.mktemp("flite")

    def render(sentence: str) -> bytes:
        path = directory / "speech.wav"
        subprocess.run([flite, "-voice", "slt", "-t", sentence, "-o", path], check=True, timeout=30)
        with wave.open(str(path)) as recording:
            return bytes(recording.readframes(recording.getnframes()))

    return render


@pytest.fixture(scope="module")
def recognizer() -> Iterator[PocketSphinxRecognizer]:
    """A recognizer that listens for `COMMANDS`."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(GRAMMAR)
    yield recognizer
    recognizer.close()


def frames(pcm: bytes) -> Iterator[AudioChunk]:
    """Cut samples into hearing frames."""
    for start in range(0, len(pcm), FRAME_BYTES):
        yield AudioChunk(pcm[start : start + FRAME_BYTES], HEAR_RATE_HZ)


def hear(recognizer: PocketSphinxRecognizer, pcm: bytes) -> Transcript:
    """Recognize one utterance."""
    recognizer.start()
    for chunk in frames(pcm):
        recognizer.accept(chunk)
    return recognizer.finish()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_heard(recognizer: PocketSphinxRecognizer, speak: Callable[[str], bytes], command: str) -> None:
    """Every command of the grammar is understood, with words in order of their times."""
    pcm = speak(command)
    transcript = hear(recognizer, pcm)
    assert (transcript.text, transcript.in_grammar, transcript.final) == (command, True, True)
    assert transcript.confidence is not None
    assert transcript.confidence > 0.5
    assert " ".join(word.text for word in transcript.words) == command
    times = [time_s for word in transcript.words for time_s in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[-1] <= len(pcm) / 2 / HEAR_RATE_HZ + 0.3


def test_partials_come_while_speech_goes_on(recognizer: PocketSphinxRecognizer, speak: Callable[[str], bytes]) -> None:
    """The transcript grows before the utterance ends, with the very chunks that make it grow."""
    recognizer.start()
    chunks = frames(speak("set a timer for twenty five minutes"))
    partials = [partial for chunk in chunks if (partial := recognizer.accept(chunk))]
    recognizer.finish()
    assert len(partials) >= 3
    assert all(not partial.final and partial.confidence is None for partial in partials)
    assert partials[-1].text.startswith("set a timer")


def noise(seconds: float, loudness: int) -> bytes:
    """White noise."""
    source = random.Random(3)
    samples = (round(source.gauss(0, loudness)) for _ in range(int(seconds * HEAR_RATE_HZ)))
    return b"".join(max(-32768, min(32767, sample)).to_bytes(2, "little", signed=True) for sample in samples)


def claps() -> bytes:
    """Four bursts of loud noise in near silence."""
    return b"".join(noise(0.04, 9000) + noise(0.4, 20) for _ in range(4))


@pytest.mark.parametrize(
    "pcm",
    [b"", silence(0.5, HEAR_RATE_HZ).pcm, silence(3, HEAR_RATE_HZ).pcm, noise(3, 500), noise(2, 6000), claps()],
    ids=["nothing", "short silence", "silence", "faint noise", "loud noise", "claps"],
)
def test_no_command_is_made_of_noise(recognizer: PocketSphinxRecognizer, pcm: bytes) -> None:
    """What is not speech gives an empty transcript."""
    transcript = hear(recognizer, pcm)
    assert (transcript.text, transcript.in_grammar, transcript.alternatives) == ("", False, ())


@pytest.mark.parametrize("sentence", ["the quick brown fox jumps over the lazy dog", "play some jazz", "good morning"])
def test_other_speech_is_rejected(
    recognizer: PocketSphinxRecognizer, speak: Callable[[str], bytes], sentence: str
) -> None:
    """A sentence outside the grammar is no command."""
    transcript = hear(recognizer, speak(sentence))
    assert transcript.text not in COMMANDS
    assert not set(transcript.alternatives) & set(COMMANDS)


def test_confidence_needs_sound_and_grammar() -> None:
    """A reading that fits the sound badly, or the templates badly, is not trusted."""
    assert confidence_of(-2, -1.5, words=4) > 0.9
    assert confidence_of(-6, -1.5, words=4) < 0.1
    assert confidence_of(-2, -4, words=4) < 0.1
    assert confidence_of(-3.6, -1, words=3) < 0.4 < confidence_of(-3.6, -1, words=10)


def test_a_preview_is_what_finishing_there_gives(
    recognizer: PocketSphinxRecognizer, speak: Callable[[str], bytes]
) -> None:
    """In the middle of a sentence and at its end; the utterance goes on as if nobody had asked."""
    chunks = list(frames(speak("set a timer for twenty five minutes")))

    def hear_with_previews_at(*cuts: int) -> tuple[list[Transcript | None], list[Transcript], Transcript]:
        recognizer.load(GRAMMAR)  # the streaming pass takes its cepstral mean from one utterance to the next
        recognizer.start()
        partials, previews = [], []
        for n, chunk in enumerate(chunks):
            if n in cuts:
                previews += [recognizer.preview(), recognizer.preview()]
            partials.append(recognizer.accept(chunk))
        return partials, previews, recognizer.finish()

    cuts = (0, 15, len(chunks) // 2)
    partials, previews, final = hear_with_previews_at(*cuts)
    assert (partials, [], final) == hear_with_previews_at()
    assert final.text == "set a timer for twenty five minutes"
    for n, cut in enumerate(cuts):
        recognizer.start()
        for chunk in chunks[:cut]:
            recognizer.accept(chunk)
        assert previews[2 * n : 2 * n + 2] == [recognizer.finish()] * 2


def test_a_preview_is_not_decoded_again(speak: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Finishing where nothing, or only more of the silence that is cut off, came since takes the same readings."""
    passes: list[object] = []

    def count(_decoder: object, utterance: object) -> Readings:
        passes.append(utterance)
        return Readings((), 0.0, ())

    monkeypatch.setattr(UtteranceDecoder, "_readings", count)
    decoder = UtteranceDecoder(Path(get_model_path(), "en-us"), None)
    speech, quiet = speak("never mind") + silence(0.5, HEAR_RATE_HZ).pcm, silence(0.02, HEAR_RATE_HZ).pcm
    decoder.start()
    decoder.accept(speech)
    decoder.preview()
    assert decoder.preview() is decoder.preview()
    decoder.accept(quiet)
    decoder.finish()
    assert len(passes) == 1
    decoder.start()
    decoder.accept(speech)
    decoder.preview()
    decoder.accept(speech)
    decoder.finish()
    assert len(passes) == 3


def test_start_drops_an_unfinished_utterance(recognizer: PocketSphinxRecognizer, speak: Callable[[str], bytes]) -> None:
    """Nothing of a dropped utterance is in the next one, its partials included."""
    recognizer.start()
    for chunk in frames(speak("turn on the lamp")):
        recognizer.accept(chunk)
    assert hear(recognizer, speak("never mind")).text == "never mind"


def test_a_killed_child_is_reported_and_revived(speak: Callable[[str], bytes]) -> None:
    """SIGKILL in the middle of an utterance: an error within a bound, and the next utterance is heard."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(GRAMMAR)
    pcm = speak("turn on the lamp")
    recognizer.start()
    recognizer.accept(AudioChunk(pcm[: len(pcm) // 2 // 2 * 2], HEAR_RATE_HZ))
    killed = recognizer.child_pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(RecognitionError, match="signal 9"):
        recognizer.finish()
    assert time.monotonic() - began < BOUND_S
    with pytest.raises(RecognitionError):
        recognizer.finish()
    assert hear(recognizer, pcm).text == "turn on the lamp"
    assert recognizer.child_pid != killed
    recognizer.close()
    assert not psutil.pid_exists(killed)


def test_a_hung_child_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not answer is killed when the bound is over, and replaced by the next start."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(GRAMMAR)
    recognizer.start()
    hung = recognizer.child_pid
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    monkeypatch.setattr("edge_agent.engines.sphinx._FINISH_TIMEOUT_S", 0.3)
    with pytest.raises(RecognitionError, match="does not answer"):
        recognizer.finish()
    assert not psutil.pid_exists(hung)
    monkeypatch.undo()
    recognizer.start()
    assert recognizer.finish().text == ""
    recognizer.close()


def test_audio_is_decoded_when_accept_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the child, within a bound: what the child computes is computed during the call."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(GRAMMAR)
    recognizer.start()
    hung = recognizer.child_pid
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    monkeypatch.setattr("edge_agent.engines.sphinx._ACCEPT_TIMEOUT_S", 0.05)
    with pytest.raises(RecognitionError, match="does not answer"):
        recognizer.accept(silence(0.02, HEAR_RATE_HZ))
    assert not psutil.pid_exists(hung)
    recognizer.close()


def stopped(recognizer: PocketSphinxRecognizer, call: Callable[[], object]) -> BaseException | None:
    """Make a call on another thread, stop it until it ends, and return its error."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(call)
        while not running.done():
            recognizer.stop()
            time.sleep(0.002)
        return running.exception()


@pytest.mark.parametrize("call", ["load", "start", "accept", "preview", "finish"])
def test_stop_ends_a_call_and_its_child(
    speak: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The call that waits for a hung child fails soon, and the next utterance is heard by another one."""
    monkeypatch.setattr("edge_agent.engines.sphinx_process._GRACE_S", 0.01)
    monkeypatch.setattr("edge_agent.engines.sphinx_process._TIDY_S", 0.01)
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(GRAMMAR)
    recognizer.start()
    hung = recognizer.child_pid
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    if call == "start":  # it waits only where it loads
        os.kill(hung, signal.SIGKILL)
        psutil.Process(hung).wait(BOUND_S)
    calls: dict[str, Callable[[], object]] = {
        "load": lambda: recognizer.load(GRAMMAR),
        "start": recognizer.start,
        "accept": lambda: recognizer.accept(silence(0.2, HEAR_RATE_HZ)),
        "preview": recognizer.preview,
        "finish": recognizer.finish,
    }
    began_s = time.monotonic()
    error = stopped(recognizer, calls[call])
    assert time.monotonic() - began_s < BOUND_S
    assert isinstance(error, RecognitionError)
    assert "was stopped" in str(error)
    assert not psutil.pid_exists(hung)
    assert recognizer.child_pid is None
    assert hear(recognizer, speak("never mind")).text == "never mind"
    recognizer.close()


def test_a_call_that_answers_in_time_survives_a_stop(recognizer: PocketSphinxRecognizer) -> None:
    """The child lives on, and the wish to stop is forgotten with the call."""
    child = recognizer.child_pid
    recognizer.start()
    assert stopped(recognizer, lambda: recognizer.accept(silence(0.2, HEAR_RATE_HZ))) is None
    recognizer.stop()
    recognizer.accept(silence(0.2, HEAR_RATE_HZ))
    assert recognizer.finish().text == ""
    assert recognizer.child_pid == child


def test_a_stop_between_two_calls_is_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a call that takes long is not hit by a stop from before it."""
    monkeypatch.setattr("edge_agent.engines.sphinx_process._GRACE_S", 0.0)
    monkeypatch.setattr("edge_agent.engines.sphinx_process._LOOK_S", 0.001)
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.stop()
    recognizer.load(GRAMMAR)
    recognizer.close()


def test_a_stopped_compilation_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was half compiled is cleaned up by the child that is ended."""
    monkeypatch.setattr("edge_agent.engines.sphinx_process._GRACE_S", 0.0)
    monkeypatch.setattr("edge_agent.engines.sphinx_process._TIDY_S", BOUND_S)
    words = "turn on off the lamp set a timer for ten minutes stop music what time is it never mind".split()  # noqa: SIM905
    source = random.Random(5)
    grammar = Grammar(tuple({" ".join(source.choices(words, k=8)) for _ in range(20_000)}))
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en", tmp_path)
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(recognizer.load, grammar)
        while not loading.done():
            if any(tmp_path.glob("sphinx-new-*/grammar")):
                recognizer.stop()
            time.sleep(0.002)
    with pytest.raises(RecognitionError, match="was stopped"):
        loading.result()
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_grammar_needs_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to clean up where the child is killed later."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(Grammar(("yes", "no")))
    assert list(tmp_path.iterdir()) == []
    recognizer.close()


def test_close_ends_even_a_stopped_child() -> None:
    """Closing is bounded, leaves no process, and may be done twice."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(GRAMMAR)
    child = recognizer.child_pid
    assert child is not None
    os.kill(child, signal.SIGSTOP)
    began = time.monotonic()
    recognizer.close()
    recognizer.close()
    assert time.monotonic() - began < BOUND_S
    assert not psutil.pid_exists(child)


def test_the_child_dies_with_its_parent() -> None:
    """A parent that is killed leaves no child behind."""
    program = (
        "import time\n"
        "from edge_agent.config.engines import PocketSphinxConfig\n"
        "from edge_agent.engines.sphinx import PocketSphinxRecognizer\n"
        "from edge_agent.grammar import Grammar\n"
        "r = PocketSphinxRecognizer(PocketSphinxConfig(), 'en')\n"
        "r.load(Grammar(('yes', 'no')))\n"
        "print(r.child_pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(["python", "-c", program], stdout=subprocess.PIPE, text=True, env=_environment()) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(BOUND_S)


def _environment() -> dict[str, str]:
    """Let `python` be the one that runs the tests."""
    import sys

    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_using_it_before_loading_is_an_error() -> None:
    """Without a grammar there is nothing to listen for."""
    with pytest.raises(RecognitionError, match="no grammar was loaded"):
        PocketSphinxRecognizer(PocketSphinxConfig(), "en").start()


def test_other_languages_are_refused() -> None:
    """The wheel's model is English; the error says what helps."""
    with pytest.raises(ModelError, match="Vosk"):
        PocketSphinxRecognizer(PocketSphinxConfig(), "zh").load(Grammar(("你好",)))


def test_unpronounceable_words_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """A word without a pronunciation is logged, and the rest is listened for."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(Grammar(("turn on the lamp", "sage mir þáttur")))
    recognizer.close()
    assert "'þáttur'" in caplog.text


def test_a_new_grammar_replaces_the_old(speak: Callable[[str], bytes]) -> None:
    """Loading again changes what is understood, in the same child."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(Grammar(("open the window", "close the door")))
    child = recognizer.child_pid
    recognizer.load(GRAMMAR)
    assert recognizer.child_pid == child
    assert hear(recognizer, speak("turn off the lamp")).text == "turn off the lamp"
    recognizer.close()


def test_free_dictation_is_marked(speak: Callable[[str], bytes]) -> None:
    """Without a grammar the transcript is dictation, which no command may be taken from unseen."""
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(None)
    transcript = hear(recognizer, speak("what time is it in the morning"))
    recognizer.close()
    assert "time is it in" in transcript.text
    assert not transcript.in_grammar
