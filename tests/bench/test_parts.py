"""Each part of the benchmarks at a tiny size: that it measures, not what."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.bench import capture, concurrency, dispatch, memory, scheduling
from edge_agent.bench.capture import Heard
from edge_agent.bench.listeners import agent, bare_listener
from edge_agent.bench.process_tree import taken_by
from edge_agent.bench.result import Findings
from edge_agent.config.schema import Config
from edge_agent.errors import DeviceError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commands import CommandLine

_TINY = concurrency.Size(
    jobs=80,
    tasks=100,
    graphs=1,
    rounds=1,
    window_s=0.3,
    settle_s=0.1,
    capture_s=0.6,
    quiet_s=0.2,
    stops=2,
    prompt_tokens=200,
    pieces=1000,
    answer_tokens=16,
    tiny=True,
)


def told(_text: str) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    """The defaults, with directories of their own."""
    directories = {name: str(tmp_path / name) for name in ("models", "cache", "state")}
    yield Config.model_validate({"directories": directories})
    assert not list((tmp_path / "cache").glob("bench-*")), "generated models were left behind"


async def test_dispatch_is_measured_against_both_references() -> None:
    """The ratios are those of the medians."""
    findings = Findings()
    await dispatch.measure(findings, told, jobs=80)
    ours, plain, seed = (findings.value(f"dispatch.{name}_p50_us") for name in ("pool", "executor", "seed"))
    assert ours is not None
    assert plain is not None
    assert seed is not None
    assert findings.value("dispatch.vs_executor") == pytest.approx(ours / plain)
    assert findings.value("dispatch.vs_seed") == pytest.approx(ours / seed)
    assert {result.samples for result in findings.results} == {80}


async def test_the_scheduler_gets_a_whole_graph_done() -> None:
    """In the right order, which the part checks itself."""
    findings = Findings()
    await scheduling.measure(findings, told, tasks=300, rounds=2)
    (result,) = findings.results
    assert result.name == "scheduler.tasks_per_s"
    assert result.value is not None
    assert result.value > 0
    assert result.reference is not None


def test_a_wrong_order_is_no_result() -> None:
    """A task that never ran, or ran before another one that it needs."""
    scheduling._check_order([(), (0,)], [0, 1])
    for ran_at in ([1, 0], [None, 0], [0, None]):
        with pytest.raises(AssertionError, match="ran at"):
            scheduling._check_order([(), (0,)], ran_at)


async def test_memory_is_measured_in_a_process_of_its_own() -> None:
    """A slope for the whole and for each kind."""
    findings = Findings()
    await memory.measure(findings, told, jobs=300)
    names = {result.name for result in findings.results}
    assert "memory.slope_bytes_per_job" in names
    assert {f"memory.{kind}_slope_bytes_each" for kind in ("jobs", "tasks", "identities", "refusals")} < names
    assert all(math.isfinite(result.value or 0.0) for result in findings.results)


async def test_frames_are_heard_from_a_thread_that_is_not_ours(config: Config) -> None:
    """All of them, in a quiet process."""
    pytest.importorskip("webrtcvad", reason="webrtcvad is not installed")
    from edge_agent.bench.materials import spoken

    if not shutil.which("flite"):
        pytest.skip("flite is not installed")
    (utterance,) = await asyncio.to_thread(spoken, config, ("lights on",))
    heard = await capture.hear(utterance, 0.4, told)
    assert len(heard.delays_ms) + heard.lost == 20
    assert heard.missing == 0
    assert min(heard.delays_ms) >= 0


def test_lost_frames_are_those_of_channel_and_device() -> None:
    """Compared with the libraries' defaults; nothing heard at all is no delay."""
    findings = Findings()
    busy = Heard(delays_ms=[1.0, 2.0, 30.0], dropped=1, overrun=2, missing=3)
    capture.report(findings, busy, Heard(overrun=9), Heard(delays_ms=[0.1]))
    lost = findings.results[0]
    assert (lost.name, lost.value, lost.samples, lost.met) == ("capture.lost_frames", 6, 9, False)
    assert lost.reference is not None
    assert lost.reference.value == 9
    assert findings.value("capture.vad_delay_p99_ms") == 30.0
    assert findings.value("capture.defaults_vad_delay_p99_ms") is None


@pytest.mark.slow
async def test_ledger_capture_and_stopping_run_on_the_real_engines(config: Config) -> None:
    """Every name that others read is there, and the models are gone afterwards."""
    for package in ("gguf", "onnx", "llama_cpp", "piper", "pocketsphinx"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    findings = await concurrency.measure(config, _TINY, ("ledger", "capture", "stopping"), told)
    values = {result.name: result.value for result in findings.results}
    for name in (
        "ledger.fair_share",
        "ledger.vs_defaults",
        "ledger.mean_threads",
        "capture.lost_frames",
        "capture.vad_delay_p99_ms",
        "stop.sleep_p99_ms",
        "stop.prefill_p99_ms",
        "stop.sentence_p99_ms",
        "stop.prefill_timeout_p99_ms",
    ):
        assert values[name] is not None, name
    assert all(values[name] == 0 for name in values if name.endswith("threads_given_up"))
    ratios = [result for result in findings.results if result.name in {"ledger.fair_share", "ledger.vs_defaults"}]
    assert all(result.reference is not None for result in ratios)


def test_a_process_tree_is_looked_at() -> None:
    """Ours has used time and memory; one that is gone is an error."""
    pytest.importorskip("psutil", reason="psutil is not installed")
    import os
    import subprocess

    taken = taken_by(os.getpid())
    assert taken.cpu_s > 0
    assert taken.rss_bytes > 1_000_000
    assert taken.processes >= 1
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError):
        taken_by(child.pid)


async def test_an_agent_that_ends_is_reported(tmp_path: Path) -> None:
    """With the last thing it said."""
    config = tmp_path / "wrong.toml"
    config.write_text("nonsense = 1\n")
    with pytest.raises(EngineError, match="nonsense"):
        async with agent({}, config):
            pass


async def test_a_reference_without_a_microphone_is_reported(tmp_path: Path) -> None:
    """So that the two can take turns, or the person learns why."""
    env = {"HOME": str(tmp_path), "ALSA_CONFIG_PATH": "/dev/null", "JACK_NO_START_SERVER": "1"}
    with pytest.raises(DeviceError):
        async with bare_listener(env, "no such microphone"):
            pass


@pytest.mark.live
@pytest.mark.slow
def test_idle_is_measured_on_a_null_microphone(command_line: CommandLine) -> None:
    """The whole command: agent and reference on one microphone, one JSON object, and nothing of them left."""
    missing = [command for command in ("pulseaudio", "pactl", "pacat") if shutil.which(command) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (apt install pulseaudio pulseaudio-utils libasound2-plugins)")
    done = command_line.run("bench", "idle", "--null-microphone", "--quick", "--seconds", "2", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    values = {result["name"]: result["value"] for result in document["results"]}
    assert document["bench"] == "idle"
    assert {"listening.cpu_vs_bare_loop", "listening.rss_mib", "start.ready_s"} <= values.keys()
    assert values["listening.rss_mib"] > 10
    assert 0 < values["start.ready_s"] < 60
    assert values["listening.speech_share"] == 0
