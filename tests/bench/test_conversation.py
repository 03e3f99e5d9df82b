"""The benchmark of conversations: what it counts, compares and draws; the whole of it at a tiny size."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edge_agent.bench import conversation, gguf_model
from edge_agent.bench.conversation_barge import Interruption
from edge_agent.bench.conversation_floor import Floor
from edge_agent.bench.conversation_rig import (
    CLAUSE_TOKENS,
    Exchange,
    FixedCutter,
    changed,
    clauses,
    is_intent_turn,
    is_model_turn,
)
from edge_agent.bench.conversation_soak import without_largest_step
from edge_agent.bench.conversation_turns import (
    Taken,
    intent_features,
    model_features,
    report_model_turns,
    waterfall,
)
from edge_agent.bench.pause_speech import Clip
from edge_agent.bench.plot import draw
from edge_agent.bench.result import Bar, Findings, Row
from edge_agent.bench.room_source import Speech
from edge_agent.bench.room_speaker import Played, Run
from edge_agent.config.schema import Config
from edge_agent.events import Endpoint, EndpointReason
from edge_agent.pipeline.report import TurnReport

_PACKAGES = ("gguf", "onnx", "llama_cpp", "piper", "webrtcvad")


def told(_text: str) -> None:
    """Nobody looks at the progress."""


def exchange(first_audio_s: float | None, *, source: str = "llm", is_whole: bool = True) -> Exchange:
    """A question that ended at 100 s and was answered so much later; its endpoint came at 100.7 s, after 0.6 s."""
    report = TurnReport(1, heard="hello", source=source)  # type: ignore[arg-type]
    report.endpoint = Endpoint(EndpointReason.SILENCE, 0.6, 1.5, 2.1)
    report.timeline.mark("asr.preview", 1.7, 1.8)
    report.timeline.mark("speculation", 1.8, 2.1, "kept")
    report.timeline.mark("endpoint", 2.1)
    return Exchange(
        Clip("clip", np.zeros(1), 0.0, 0.0, np.zeros(161), 1.0),
        Speech(98.5, 100.0),
        report,
        decided_at=100.7,
        handed_at=None if first_audio_s is None else 100.0 + first_audio_s,
        cost=None,
        opening=(),
        audio=(),
        is_whole=is_whole,
    )


def test_a_clause_is_said_after_twelve_tokens() -> None:
    """What comes while the prompt is evaluated is no token; one clause is said, however long the answer goes on."""
    cutter = FixedCutter(clauses())
    said = [cutter.feed("") for _ in range(30)] + [cutter.feed("a") for _ in range(CLAUSE_TOKENS - 1)]
    assert not any(said)
    # Once text has begun, a delta without text is a token whose text waits for the next one's.
    assert len(cutter.feed("")) == 1
    assert not any(cutter.feed("a") for _ in range(40))
    assert cutter.flush() == []


def test_a_short_answer_is_said_at_its_end_and_an_empty_one_never() -> None:
    """Two sentences take twice as many tokens."""
    short, silent, two = FixedCutter(clauses()), FixedCutter(clauses()), FixedCutter(clauses(), sentences=2)
    short.feed("a")
    assert len(short.flush()) == 1
    silent.feed("")
    assert silent.flush() == []
    assert [len(two.feed("a")) for _ in range(3 * CLAUSE_TOKENS)].count(1) == 2


def test_clauses_are_equally_long_and_hardly_repeat() -> None:
    """So that each costs the voice the same, and the phrase cache knows none."""
    some = list(islice(clauses(), 200))
    assert len({len(clause) for clause in some}) == 1
    assert len(set(some)) > 195
    assert some == list(islice(clauses(), 200)) != list(islice(clauses(2), 200))


def test_turns_that_count_are_whole_and_answered_aloud() -> None:
    """By the language model, or by an intent."""
    assert is_model_turn(exchange(1.0))
    assert is_intent_turn(exchange(1.0, source="intent"))
    for wrong in (exchange(None), exchange(1.0, is_whole=False), exchange(1.0, source="intent"), None):
        assert not is_model_turn(wrong)
    assert not is_intent_turn(exchange(1.0))


def test_turns_are_compared_with_their_own_floors() -> None:
    """The ratio is that of each turn, and the parts of the floor add up."""
    floors = [Floor(0.6, 0.1, 0.1, 0.1, 0.1, 20), Floor(0.6, 0.1, 0.6, 0.3, 0.4, 200)]
    assert [floor.whole_s for floor in floors] == pytest.approx([1.0, 2.0])
    findings = Findings()
    report_model_turns(findings, Taken([exchange(1.1), exchange(1.8)], left_out=3), floors)
    assert findings.value("llm.vs_floor_p50") == pytest.approx(0.9)
    assert findings.value("llm.vs_floor_p95") == pytest.approx(1.1)
    met = {result.name: result.met for result in findings.results if result.met is not None}
    assert met == {"llm.vs_floor_p50": True, "llm.vs_floor_p95": True}
    assert findings.value("llm.first_audio_p50_ms") == pytest.approx(1100)
    assert findings.value("llm.after_endpoint_p95_ms") == pytest.approx(1100)
    assert findings.value("llm.vad_tail_p50_ms") == pytest.approx(100)
    assert findings.value("llm.speculation_kept") == 1
    assert findings.value("llm.turns_left_out") == 3


def test_without_a_turn_there_is_no_figure() -> None:
    """And no goal is met."""
    findings = Findings()
    report_model_turns(findings, Taken([], left_out=4), [])
    assert findings.value("llm.vs_floor_p50") is None
    assert not any(result.met for result in findings.results)


def test_each_feature_is_off_alone() -> None:
    """One setting differs from the given configuration; without the ledger nobody waits for another's cores."""
    config = Config()
    features = {feature.name: feature.config for feature in (*model_features(config, 2), *intent_features(config))}
    assert not features["no_warm_prefix"].llm.keep_prefix
    assert not features["no_speculation"].llm.speculate
    assert not features["fixed_endpoint"].endpoint.adaptive
    assert features["no_cache"].phrases.memory_mib == features["no_cache"].phrases.disk_mib == 0
    loose = features["no_ledger"]
    assert loose.llm.threads == loose.tts.piper.threads == 2
    assert loose.cores.compute is not None
    assert loose.cores.compute >= loose.llm.threads + loose.tts.piper.threads + 1
    assert features["no_warm_prefix"] == changed(config, llm={"keep_prefix": False})


def test_samples_after_the_cancellation_are_stale() -> None:
    """Those before it, and those of a turn that had nothing to say, are not."""
    played = Played(handed_at=10.0, runs=[Run(10.0, 11.0, 16_000)])
    cut = Interruption(1, "speech", "playing", onset_at=10.8, cancelled_at=11.0)
    assert cut.stale_samples(played) == 0
    assert cut.silence_ms(played) == pytest.approx(200)
    late = Interruption(1, "speech", "playing", onset_at=10.8, cancelled_at=10.9)
    assert late.stale_samples(played) == pytest.approx(0.099 * 16_000, abs=2)
    silent = Interruption(1, "button", "prefill", onset_at=9.0, cancelled_at=None)
    assert silent.stale_samples(Played()) == 0
    assert silent.silence_ms(Played()) is None
    assert silent.stale_samples(played) == 16_000


def test_one_step_is_no_slope() -> None:
    """It is taken out of what follows it; a steady growth stays."""
    level, step = without_largest_step([1.0, 2.0, 3.0, 73.0, 74.0])
    assert step == 70
    assert level == pytest.approx([1, 2, 3, 3, 4])
    assert without_largest_step([5.0, 5.0]) == ([5.0, 5.0], 0.0)


def test_a_waterfall_counts_from_the_true_end_of_speech() -> None:
    """Bars have lengths, moments have none, and the first sample is the last of them."""
    (row,) = waterfall([exchange(1.25)])
    assert row.label == "hello"
    bars = {bar.stage: (bar.from_ms, bar.until_ms) for bar in row.bars}
    assert bars["endpoint"] == pytest.approx((700, 700))
    assert bars["asr.preview"] == pytest.approx((300, 400))
    assert bars["first sample"] == pytest.approx((1250, 1250))


def test_waterfalls_are_drawn(tmp_path: Path) -> None:
    """Beside distributions and goals."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    findings = Findings()
    findings.waterfalls["Turns"] = [Row("what", (Bar("asr", -100.0, 50.0), Bar("endpoint", 300.0, 300.0)))]
    findings.distributions["Delay (ms)"] = {"all": [1.0, 2.0]}
    draw(findings, tmp_path / "plot.png", "conversation")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_words_are_read_in_pieces(tmp_path: Path) -> None:
    """Not a letter at a time: a question has as many tokens as a trained vocabulary would give it, or twice as many."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    path = tmp_path / "random.gguf"
    gguf_model.write_model(path, gguf_model.ModelShape(1, 64, 2, 1, 96), in_pieces=True)
    llama = llama_cpp.Llama(str(path), vocab_only=True, n_ctx=64, verbose=False)
    text = "please tell me who can clean the windows of the house"
    tokens = llama.tokenize(text.encode(), add_bos=False)
    assert llama.detokenize(tokens).decode().strip() == text
    llama.close()
    assert len(text.split()) <= len(tokens) <= 2 * len(text.split())


def test_the_system_prompt_has_the_wanted_length(tmp_path: Path) -> None:
    """In tokens of the model that will read it."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    path = tmp_path / "random.gguf"
    gguf_model.write_model(path, gguf_model.ModelShape(1, 64, 2, 1, 96), in_pieces=True)
    prompt = conversation.system_prompt(path, 200)
    llama = llama_cpp.Llama(str(path), vocab_only=True, n_ctx=64, verbose=False)
    assert 197 <= len(llama.tokenize(prompt.encode(), add_bos=False)) <= 200
    llama.close()


@pytest.mark.slow
async def test_the_whole_benchmark_runs_on_the_real_engines(tmp_path: Path, speech_dir: Path, models_dir: Path) -> None:
    """Every name that others read is there, nothing stale was heard, and the models are gone afterwards."""
    for package in _PACKAGES:
        pytest.importorskip(package, reason=f"{package} is not installed")
    pytest.importorskip("vosk", reason="vosk is not installed")
    config = Config.model_validate(
        {"directories": {name: str(tmp_path / name) for name in ("models", "cache", "state")}}
    )
    size = conversation.Size(
        model_turns=1, intent_turns=1, feature_turns=1, interruptions=1, soak_turns=4, features=False, tiny=True
    )
    parts = ("llm", "intent", "features", "barge_in", "soak")
    findings = await conversation.measure(
        config, size, parts, told, speech=speech_dir, vosk=models_dir / "vosk-sphinx-en"
    )
    values = {result.name: result.value for result in findings.results}
    for name in (
        "llm.vs_floor_p50",
        "llm.vs_floor_p95",
        "llm.first_audio_p50_ms",
        "intent.after_endpoint_p95_ms",
        "features.llm_no_warm_prefix_p50_ms",
        "soak.memory_slope_kib_per_turn",
        "soak.last_vs_first_p95",
    ):
        assert values[name] is not None, name
    assert values["barge_in.stale_samples"] == 0
    assert "barge_in.silence_p95_ms" in values
    assert {"Language model turns", "Intent turns"} <= findings.waterfalls.keys()
    assert not list((tmp_path / "cache").glob("bench-*")), "generated models were left behind"
