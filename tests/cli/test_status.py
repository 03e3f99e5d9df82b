"""`edge-agent status`: the table at 80 columns, JSON, and one clear line where there is no service."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edge_agent.cli.status import status
from edge_agent.cli.status_view import _count, _ms, print_status, span
from edge_agent.errors import ServiceError

_MIB = 1 << 20


def pool_of(name: str, **figures: object) -> dict[str, Any]:
    """Return a pool as the report has it."""
    idle: dict[str, Any] = {
        "name": name,
        "workers": 1,
        "most_workers": 1,
        "busy": 0,
        "stuck": 0,
        "waiting": 0,
        "delayed": 0,
        "queued": {"high": 0, "normal": 0, "low": 0},
        "depth": 64,
        "busy_share": 0.0,
        "threads": [],
    }
    return {**idle, **figures}


def status_of(**parts: object) -> dict[str, Any]:
    """Return a status of a busy agent."""
    slow = {"p50_ms": 1200.0, "p95_ms": 123_456.0, "p99_ms": 3_600_000.0}
    report = {
        "uptime_s": 93784.2,
        "tasks": {
            "active": 4,
            "peak": 9,
            "completed": 123_456,
            "failed": 2,
            "timed_out": 1,
            "cancelled": 14,
            "refused": 3,
            "success_rate": 0.99,
            "per_s": 1.2,
            "per_s_last_minute": 42.3,
        },
        "places": [{"place": "llm", "completed": 12, "wait": slow, "run": slow}],
        "pools": [
            pool_of("capture"),
            pool_of("llm", busy=1, waiting=3, delayed=1),
            pool_of("general", most_workers=4, busy=2, stuck=1),
        ],
        "cores": {
            "cores": 4,
            "reserve": 1,
            "held": 3,
            "waiting": 1,
            "claims": [
                {"name": "llama", "most": 3, "is_open": True, "held": 3, "mean_threads": 2.54, "waited_s": 61.0},
                {"name": "piper", "most": 2, "is_open": True, "held": 0, "mean_threads": None, "waited_s": 0.0},
            ],
        },
        "channels": [{"name": "microphone", "dropped": 3}, {"name": "text", "dropped": 0}],
        "lag": {"latest_ms": 1.25, "p99_ms": 17.8},
        "pressure": {"rung": "hot", "reasons": ["temperature 84 °C", "throttled"], "for_s": 75.0},
        "usage": {
            "cpu_share": 1.52,
            "rss_bytes": 180 * _MIB,
            "children": 1,
            "children_rss_bytes": 60 * _MIB,
            "threads": 23,
            "open_files": 41,
            "memory_available_bytes": 900 * _MIB,
        },
        "logs_lost": 2,
        "bottleneck": {"what": "temperature", "why": "84 °C, throttled: the language model is throttled"},
    }
    found: dict[str, Any] = {
        "state": "thinking",
        "version": "0.1.0",
        "uptime_s": 93784.2,
        "pressure": "hot",
        "engines": {
            "asr": "vosk (vosk-model-small-en-us-0.15)",
            "llm": "qwen2.5-0.5b-instruct-q4_k_m.gguf",
            "wake": None,
        },
        "audio": {"input": "USB Audio Device", "frames_lost": 3, "levels": [1, 2]},
        "counters": {"turns": 128, "interruptions": 3},
        "faults": [{"message": f"fault {number}", "age_s": 340.0} for number in range(5)],
        "report": report,
    }
    return {**found, **parts}


def shown(found: dict[str, Any], width: int = 80) -> str:
    """Return what a terminal of that width shows."""
    out = io.StringIO()
    print_status(found, Console(file=out, width=width, highlight=False))
    return out.getvalue()


@contextmanager
def service(path: Path, answer: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Answer one request; the value holds it then."""
    asked: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def work() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(json.loads(connection.recv(4096)))
                connection.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=work)
        thread.start()
        yield asked
        thread.join(10)


def test_everything_is_shown_at_80_columns() -> None:
    """No line is longer or broken off, and each figure is where people look for it."""
    text = shown(status_of())
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "…" not in text
    for part in (
        "◆ thinking   edge-agent 0.1.0, up 1 d 2 h",
        "asr vosk (vosk-model-small-en-us-0.15)",
        "llm qwen2.5-0.5b-instruct-q4_k_m.gguf",
        "temperature: 84 °C, throttled: the language model is throttled",
        "hot for 1 min 15 s: temperature 84 °C, throttled",
        "3 of 4 in use, 1 kept for capture, 1 waiting",
        "4 active, 123k completed, 2 failed, 1 timed out, 3 refused,",
        "1.2 ms late, p99 17.8 ms",
        "180 MiB + 60 MiB in 1 child, 900 MiB free, 152 % of a core",
        "input USB Audio Device · 3 frames lost",
        "128 turns · 3 interruptions",
        "3 in channel microphone, 2 log records",
        "2 of 4 (1 stuck)",
        "3 +1",
        "! fault 4 (5 min 40 s ago)",
    ):
        assert part in text, part
    assert "fault 1" not in text, "the last three are enough"
    llm = next(line for line in lines if line.startswith("llm"))
    assert llm.split() == ["llm", "1", "of", "1", "3", "+1", "12", *["1.2s", "2m", "60m"] * 2]
    assert next(line for line in lines if line.startswith("piper")).split() == ["piper", "waits", "-", "2", "0", "s"]


def test_what_is_not_known_is_not_shown() -> None:
    """A service that has just begun, or an older one."""
    assert shown({"state": "idle"}).split() == ["○", "idle", "bottleneck", "nothing", "limits", "it", "now"]
    text = shown(status_of(muted=True, engines={}, faults=["plain"], report={"uptime_s": 1.0}))
    assert "✕ muted" in text
    assert "! plain" in text
    assert "Pool" not in text


@pytest.mark.parametrize(
    ("broker", "line"),
    [
        (
            {"broker": "hub:8883", "connected": True, "reason": "", "since_s": 93784.2, "events_waiting": 0},
            "broker connected to hub:8883 for 1 d 2 h",
        ),
        (
            {
                "broker": "hub:8883",
                "connected": False,
                "reason": "its certificate has expired",
                "since_s": 5.0,
                "events_waiting": 3,
            },
            "broker not connected to hub:8883: its certificate has expired; 3 events wait",
        ),
    ],
)
def test_the_connection_to_the_broker_is_explained(broker: dict[str, Any], line: str) -> None:
    """How long it lasts, or why there is none."""
    text = " ".join(shown(status_of(broker=broker), width=120).split())
    assert line in text


def test_all_is_well_in_few_words() -> None:
    """Normal pressure has no reasons, but a temperature."""
    report = {"pressure": {"rung": "normal", "reasons": [], "for_s": 9.0, "temperature_c": 51.6}, "bottleneck": None}
    text = shown({"state": "idle", "report": report})
    assert "nothing limits it now" in text
    assert "normal   52 °C" in text


def test_the_command_asks_the_socket_and_prints(tmp_path: Path) -> None:
    """For people, or the object as it is."""
    found = status_of()
    for arguments in ([], ["--json"]):
        path = tmp_path / f"s{len(arguments)}"
        with service(path, {"ok": True, "data": found}) as asked:
            done = CliRunner().invoke(status, ["--socket", str(path), *arguments], catch_exceptions=False)
        assert asked == [{"get": "status"}]
        if arguments:
            assert json.loads(done.stdout) == found
        else:
            assert done.stdout.startswith("◆ thinking")


def test_without_a_service_it_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the command line prints as one line, with status 1."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    runner = CliRunner()
    for arguments in ([], ["--socket", str(tmp_path / "none")]):
        error = runner.invoke(status, arguments).exception
        assert isinstance(error, ServiceError)
        assert error.exit_status == 1
        assert "is `edge-agent run` running?" in str(error)
        assert "\n" not in str(error)


def test_a_terminal_of_any_width_is_no_crash() -> None:
    """It may be ugly."""
    for width in (20, 40, 60, 79, 81, 200):
        assert "thinking" in shown(status_of(), width)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(0.0, 59_000_000.0), st.integers(0, 99_000_000))
def test_figures_fit_their_columns(milliseconds: float, count: int) -> None:
    """Six places at most, so that the table fits."""
    assert len(_ms(milliseconds)) <= 6
    assert len(_count(count)) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90061, "1 d 1 h")],
)
def test_spans_have_two_units(seconds: float, text: str) -> None:
    """As people say them."""
    assert span(seconds) == text


def test_help_is_there() -> None:
    """With both options."""
    text = CliRunner().invoke(status, ["--help"]).output
    assert "--socket PATH" in text
    assert "--json" in text
    assert isinstance(status, click.Command)


def test_devices_are_shown_with_their_states() -> None:
    """What is zero is left out, but for counts; why something fails has a line of its own."""
    audio = {
        "microphone": None,
        "microphone_state": "absent",
        "microphone_for_s": 75.2,
        "frames_lost": 3,
        "silent_s": 0.0,
        "clipped_percent": 1.5,
        "speaker": "Headphones",
        "speaker_state": "ready",
        "speaker_for_s": 5.0,
    }
    trouble = {"microphone": "USB Mic: was lost; is it still connected?", "speaker": ""}
    found = {"state": "idle", "audio": audio, "trouble": trouble}
    lines = [line.strip() for line in shown(found, width=200).splitlines()]
    assert "microphone none, absent for 1 min 15 s · 3 frames lost · clipped percent 1.5" in " ".join(lines)
    assert "speaker Headphones, ready for 5 s" in " ".join(lines)
    reasons = [line.split(maxsplit=1)[1] for line in lines if line.startswith("microphone")]
    assert reasons == [trouble["microphone"]]
    assert not any(line.startswith("speaker ") for line in lines)
    assert "silent" not in " ".join(lines)
