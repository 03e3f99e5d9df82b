"""Piper while it runs: changing grants, stops inside a sentence, sessions and the lean copy of a voice."""

from __future__ import annotations

import json
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.config.engines import PiperConfig
from edge_agent.engines.piper import PiperSynthesizer
from edge_agent.engines.piper_session import RunStop, VoiceSessions, lean_copy
from edge_agent.errors import SynthesisError
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.runtime.ledger import ComputeGrant

pytest.importorskip("piper", reason="piper-tts is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

_TEXT = "The lamp is on. The fan is off."


class ListedGrant:
    """Gives the listed numbers of threads, sentence by sentence; the last one for ever."""

    def __init__(self, threads: Sequence[int]) -> None:
        self._left = list(threads)
        self.threads = threads[0]

    def commit(self) -> int:
        """Take the next number over."""
        self.threads = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        return self.threads


@pytest.fixture(scope="module")
def settings(models_dir: Path) -> Path:
    """The .json of a voice."""
    return models_dir / "piper-stub" / "test_voice.onnx.json"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory, settings: Path) -> Path:
    """A voice with random weights that takes a while for a sentence: 40 layers, none of them long."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    path = tmp_path_factory.mktemp("voice") / "slow.onnx"
    generator = np.random.default_rng(0)
    width, layers = 64, 40
    weights = {"table": (256, width), "last": (1, width, 1), "long": (4,)}
    weights |= {f"w{layer}": (width, width, 5) for layer in range(layers)}
    initial = [
        numpy_helper.from_array(generator.standard_normal(shape, dtype=np.float32) / 16, name)
        for name, shape in weights.items()
        if name != "long"
    ]
    initial.append(numpy_helper.from_array(np.array([1.0, 1.0, 30.0], np.float32), "long"))
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("Resize", ["columns", "", "long"], ["x0"], mode="nearest"),
    ]
    for layer in range(layers):
        nodes.append(helper.make_node("Conv", [f"x{layer}", f"w{layer}"], [f"c{layer}"], pads=[2, 2]))
        nodes.append(helper.make_node("Tanh", [f"c{layer}"], [f"x{layer + 1}"]))
    nodes.append(helper.make_node("Conv", [f"x{layers}", "last"], ["output"]))
    graph = helper.make_graph(
        nodes,
        "voice",
        [
            helper.make_tensor_value_info("input", TensorProto.INT64, [1, "phonemes"]),
            helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "samples"])],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
    shutil.copy(settings, path.with_name("slow.onnx.json"))
    return path


def loaded(voice: Path, grant: ComputeGrant | None = None, cache: Path | None = None) -> PiperSynthesizer:
    """Return a loaded voice."""
    piper = PiperSynthesizer(PiperConfig(), voice, grant or FixedGrant(1), cache)
    piper.load()
    return piper


def rendered(piper: PiperSynthesizer, text: str = _TEXT) -> list[bytes]:
    """Return the chunks' samples."""
    return [chunk.pcm for chunk in piper.synthesize(text)]


def test_each_sentence_takes_the_threads_granted_by_then(voice: Path) -> None:
    """A session for each number; the sound is the same to a few steps of 16 bits."""
    import numpy as np

    grant = ListedGrant([1, 2, 1, 1])
    piper = loaded(voice, grant)
    assert piper._sessions is not None
    chunks = [np.frombuffer(pcm, "<i2").astype(int) for pcm in rendered(piper)]
    assert piper._sessions.threads == (1, 2)
    again = [np.frombuffer(pcm, "<i2").astype(int) for pcm in rendered(piper)]
    assert piper._sessions.threads == (2, 1)
    for one, other in zip(chunks, again, strict=True):
        assert np.abs(one - other).max() <= 4
    piper.close()


def test_few_sessions_are_kept(voice: Path) -> None:
    """The least used goes first."""
    sessions = VoiceSessions(voice)
    first = sessions.get(1)
    for threads in (2, 3):
        sessions.get(threads)
    assert sessions.get(1) is first
    sessions.get(4)
    assert sessions.threads == (3, 1, 4)


def test_a_grant_of_nothing_ends_the_sentence_quietly(voice: Path) -> None:
    """That is how a claim says that the job is being stopped, while it waited for a core."""
    piper = loaded(voice, ListedGrant([1, 0, 1]))
    whole = rendered(loaded(voice))
    assert rendered(piper) == whole[:1]
    assert rendered(piper) == whole
    piper.close()


def test_a_stop_ends_a_sentence_that_is_being_rendered(voice: Path) -> None:
    """From another thread, at several moments: no error, less time, and the next sentence is the right one."""
    piper = loaded(voice)
    text = "word " * 60
    began_s = time.perf_counter()
    whole = rendered(piper, text)
    whole_s = time.perf_counter() - began_s
    for share in (0.1, 0.3, 0.5):
        job = piper.synthesize(text)
        timer = threading.Timer(whole_s * share, piper.stop, [job])
        began_s = time.perf_counter()
        timer.start()
        assert list(job) == []
        assert time.perf_counter() - began_s < whole_s * (share + 0.4)
        timer.join()
    assert rendered(piper, text) == whole
    piper.close()


def test_a_stop_before_the_first_step_counts_and_hits_no_other(voice: Path) -> None:
    """Each job keeps its own mark, from when it is made."""
    piper = loaded(voice)
    one, other, third = (piper.synthesize("Yes.") for _ in range(3))
    piper.stop(one)
    assert list(one) == []
    assert len(list(other)) == 1
    piper.stop(other)
    piper.stop()
    assert list(third) == []
    assert len(rendered(piper, "Yes.")) == 1
    piper.close()


def test_a_stop_is_seen_however_it_meets_the_run() -> None:
    """Before the options are made, and after."""
    stop = RunStop()
    options = stop.options()
    assert not options.terminate
    stop.set()
    assert options.terminate
    assert stop.options().terminate


def test_a_failure_that_nobody_asked_for_is_one(voice: Path) -> None:
    """A run that breaks by itself is an error, not a quiet end."""
    piper = loaded(voice)

    class Broken:
        def get(self, threads: int) -> Any:  # noqa: ANN401
            raise RuntimeError(f"no session on {threads}")

    piper._sessions = Broken()  # type: ignore[assignment]
    with pytest.raises(SynthesisError, match="no session on 1"):
        rendered(piper)
    piper.close()


def test_a_long_sentence_is_rendered_in_pieces(voice: Path) -> None:
    """Memory and time in one go are bounded; it can be abandoned in between."""
    piper = loaded(voice)
    job = piper.synthesize("word " * 400)
    assert next(job).samples > 0
    piper.stop(job)
    assert list(job) == []
    piper.close()


def test_the_lean_copy_sounds_the_same(voice: Path, tmp_path: Path) -> None:
    """Weights lie beside the graph; the second load finds them; nothing else is left."""
    whole = rendered(loaded(voice))
    for _ in range(2):
        piper = loaded(voice, cache=tmp_path / "cache")
        assert rendered(piper) == whole
        piper.close()
    [copy] = (tmp_path / "cache").iterdir()
    assert {path.name for path in copy.iterdir()} == {"voice.onnx", "voice.weights", "sums.json"}
    assert (copy / "voice.onnx").stat().st_size < 20_000
    assert json.loads((copy / "sums.json").read_text()).keys() == {"voice.onnx", "voice.weights"}


@pytest.mark.parametrize("name", ["voice.onnx", "voice.weights", "sums.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_copy_is_made_anew(voice: Path, tmp_path: Path, name: str, damage: str) -> None:
    """Whatever file it is."""
    graph = lean_copy(voice, tmp_path)
    whole = {path.name: path.read_bytes() for path in graph.parent.iterdir()}
    path = graph.with_name(name)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    assert lean_copy(voice, tmp_path) == graph
    assert {path.name: path.read_bytes() for path in graph.parent.iterdir()}.keys() == whole.keys()
    assert graph.with_name("voice.weights").read_bytes() == whole["voice.weights"]


def test_old_copies_go(voice: Path, tmp_path: Path) -> None:
    """Two are kept, for a voice and the one before; what a process that died left half written goes too."""
    (tmp_path / ".part-dead").mkdir()
    (tmp_path / ".part-dead" / "voice.onnx").write_bytes(b"half")
    copies = []
    for number in range(3):
        other = tmp_path.with_name(f"voice{number}.onnx")
        shutil.copyfile(voice, other)
        copies.append(lean_copy(other, tmp_path).parent)
    assert set(tmp_path.iterdir()) == set(copies[1:])


def test_without_room_for_a_copy_the_voice_itself_is_used(
    voice: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and speaks all the same."""
    (tmp_path / "cache").write_text("not a directory")
    assert lean_copy(voice, tmp_path / "cache") == voice
    assert "takes more memory" in caplog.text
