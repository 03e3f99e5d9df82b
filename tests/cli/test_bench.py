"""`edge-agent bench` as people and programs call it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from commands import assert_one_complaint, isolated
from rich.console import Console

from edge_agent.bench import concurrency, conversation, mqtt
from edge_agent.bench.result import Findings, Reference, at_most
from edge_agent.cli import bench
from edge_agent.cli.bench_view import ProgressLine, print_findings

if TYPE_CHECKING:
    from commands import CommandLine


def test_one_part_prints_one_object(command_line: CommandLine) -> None:
    """On standard output nothing else; the progress goes to standard error; the plot is a picture."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plot = command_line.home / "plot.png"
    arguments = ("bench", "concurrency", "--quick", "--only", "scheduler", "--only", "dispatch", "--json")
    done = command_line.run(*arguments, "--plot", plot)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["bench"] == "concurrency"
    names = {result["name"] for result in document["results"]}
    assert {"dispatch.vs_executor", "dispatch.vs_seed", "scheduler.tasks_per_s"} <= names
    assert "dispatch 1/" in done.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "Choose from: concurrency, conversation, idle, mqtt, soak"),
        (("nothing",), "concurrency"),
        (("idle", "--seconds", "long"), "'long' is no number"),
        (("idle", "--seconds", "nan"), "'nan' is no number"),
        (("soak", "--minutes", "0"), "must be 0.5 or more, not 0"),
        (("soak", "--every-s", "500"), "must be from 10 to 120, not 500"),
        (("soak", "--plot", "/no/such/x.png"), "there is no directory /no/such"),
        (("soak", "--plot", "x.txt"), "must end in .png"),
        (("soak", "--plot", "."), "is a directory"),
        (("idle", "--only", "ledger"), "--only"),
        (("conversation", "--only", "ledger"), "--only"),
        (("idle", "--speech", "."), "--speech"),
        (("concurrency", "--null-microphone"), "--null-microphone"),
        (("concurrency", "--seconds", "0"), "--seconds"),
        (("idle", "--minutes", "3"), "--minutes"),
        (("conversation", "--every-s", "20"), "--every-s"),
        (("soak", "--every-s", "5"), "--every-s"),
    ],
)
def test_wrong_usage_is_one_line(command_line: CommandLine, arguments: tuple[str, ...], part: str) -> None:
    """Status 2, at once."""
    assert_one_complaint(command_line.run("bench", *arguments), part)


def test_parts_are_those_that_there_are() -> None:
    """The command says them again, because importing them loads engines."""
    assert bench._PARTS == {"concurrency": concurrency.PARTS, "conversation": conversation.PARTS, "mqtt": mqtt.PARTS}


def test_a_person_sees_value_goal_and_reference() -> None:
    """In eighty columns, names whole."""
    findings = Findings()
    reference = Reference("PortAudio and webrtcvad alone", 1.05, "% of a core")
    findings.add("listening.cpu_vs_bare_loop", 2.19, "ratio", goal=at_most(1.5), reference=reference, samples=4)
    findings.add("memory.grown_kib", None, "KiB")
    findings.notes.append("the microphone was shared")
    shown = io.StringIO()
    print_findings(findings, "idle", Console(file=shown, width=80))
    text = shown.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for part in ("listening.cpu_vs_bare_loop", "2.19", "<= 1.5", "no", "1.05 %", "none", "was shared"):
        assert part in text


def test_progress_without_a_terminal_is_a_line_a_step() -> None:
    """A hundred rounds of the same are said once."""
    stream = io.StringIO()
    with ProgressLine(stream) as line:
        for text in ("dispatch 1/40", "dispatch 2/40", "memory: 10 of 100", "dispatch 3/40"):
            line.show(text)
    assert stream.getvalue().splitlines() == ["dispatch 1/40", "memory: 10 of 100", "dispatch 3/40"]


@pytest.mark.live
@pytest.mark.slow
def test_one_that_is_terminated_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither the service nor the sound system that it started, nor their files."""
    (temporary := tmp_path / "tmp").mkdir()
    bench = subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "bench", "soak", "--minutes", "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=isolated(tmp_path, {"TMPDIR": str(temporary)}),
    )
    children: list[psutil.Process] = []
    try:
        children = _wait_for_service(psutil.Process(bench.pid))
        bench.terminate()
        bench.terminate()  # as `timeout` does
        assert bench.wait(30) == 128 + signal.SIGTERM
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
    finally:
        bench.kill()
        bench.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    assert not list(temporary.iterdir())


def _wait_for_service(bench: psutil.Process) -> list[psutil.Process]:
    """Wait until the service has children of its own; return all that the benchmark has started."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found: list[psutil.Process] = bench.children(recursive=True)
        if any(_is_recognizer(child) for child in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"no service among {bench.children(recursive=True)}")


def _is_recognizer(child: psutil.Process) -> bool:
    try:
        return "edge_agent.engines.sphinx_worker" in child.cmdline()
    except psutil.NoSuchProcess:  # it ended meanwhile
        return False
