"""`edge-agent status --turns`: the waterfall for people, JSON, saved audio, and the remedy where nothing is kept."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edge_agent.app.recorder import FlightRecorder
from edge_agent.audio import HEAR_RATE_HZ, AudioChunk
from edge_agent.cli.status import status
from edge_agent.cli.turns_view import Row, bar, print_turns, rows_of
from edge_agent.config.running import RecorderConfig
from edge_agent.errors import AudioFileError, ServiceError
from edge_agent.events import Endpoint, EndpointReason
from edge_agent.gateway.answers import StatusDesk
from edge_agent.gateway.places import SocketPlace
from edge_agent.gateway.socket import serve_socket
from edge_agent.pipeline.report import Timings, TurnReport
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.report import Reporter, Sources


def command() -> TurnReport:
    """Return a turn that was answered by intent, with its marks."""
    report = TurnReport(
        12,
        heard="turn on the kitchen light",
        confidence=0.93,
        intent="HassTurnOn",
        slots={"name": "kitchen light"},
        reply="The kitchen light is on.",
        source="intent",
        endpoint=Endpoint(EndpointReason.GRAMMAR_COMPLETE, 0.3, 1.62, 1.92, "complete command"),
        timings=Timings(1.62, 1.92, 0.004, None, 1.951, 3.2),
    )
    report.timeline.mark("endpoint", 1.62, 1.92, "complete command: 300 ms of silence")
    report.timeline.mark("asr.preview", 1.78, 1.861, "the command is complete")
    return report


def question() -> TurnReport:
    """Return a turn that the language model answered, and that was cut off; it has no marks."""
    return TurnReport(
        13,
        heard="why is the sky blue",
        reply="Air scatters blue light more than red light. That is all there is to it.",
        reply_heard="Air scatters blue light more than red light.",
        source="llm",
        interrupted=True,
        cut_off_by="speech",
        endpoint=Endpoint(EndpointReason.SILENCE, 0.52, 2.0, 2.52),
        timings=Timings(2.0, 2.52, 0.1, 2.9, 3.1, 15.0),
    )


def told_of(*reports: TurnReport, audio: bytes = b"") -> list[dict[str, Any]]:
    """Return the turns as a recorder tells them, a minute after the last."""
    passed_s = 0.0
    recorder = FlightRecorder(RecorderConfig(audio_turns=1 if audio else 0), clock=lambda: passed_s)
    for report in reports:
        recorder.note_audio(report.turn, AudioChunk(audio, HEAR_RATE_HZ))
        recorder.turn_ended(report)
    passed_s = 60.0
    return recorder.turns(100)


def shown(turns: list[dict[str, Any]], width: int = 80) -> str:
    """Return what a terminal of that width shows, without the blanks that fill lines up."""
    out = io.StringIO()
    print_turns(turns, Console(file=out, width=width, highlight=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def words_of(row: str) -> str:
    """Return a line of the waterfall without its bar."""
    return " ".join("".join(" " if character in "━•◂▸" else character for character in row).split())


def test_a_turn_has_a_headline_and_its_stages_in_order() -> None:
    """Milliseconds count from the end of speech; what has no mark comes from the timings, and nothing comes twice."""
    legend, blank, *lines = shown(told_of(command()), 120).splitlines()
    assert "from the end of speech" in legend
    assert not blank
    assert lines[0] == '#12 "turn on the kitchen light" → "The kitchen light is on."'
    assert lines[1] == "    1 min 3 s ago · intent HassTurnOn name=kitchen light · 93% sure"
    assert [words_of(line) for line in lines[2:]] == [
        "endpoint +0 ms 300 ms complete command: 300 ms of silence",
        "asr.preview +160 ms 81 ms the command is complete",
        "playback +331 ms 1249 ms",
    ]


def test_a_turn_without_marks_is_told_by_its_timings() -> None:
    """With the endpoint's reason; what cut the answer off and what of it was played are said."""
    text = shown(told_of(question()), 120)
    assert "language model" in text
    assert 'interrupted by speech; played was: "Air scatters blue light more than red light."' in text
    assert [words_of(line) for line in text.splitlines()[-4:]] == [
        "endpoint +0 ms 520 ms silence 520 ms",
        "asr +520 ms 100 ms",
        "llm +900 ms first token",
        "playback +1100 ms 11.9 s",
    ]


def test_everything_is_shown_at_80_columns() -> None:
    """No line is longer or broken off, and the whole reply is there."""
    report = question()
    report.timeline.mark("interruption", 14.9, None, "speech 14 dB above the expected echo, for 140 ms")
    (told,) = told_of(report, audio=bytes(32_000))
    told["faults"] = ["piper: closed"]
    told["marks_left_out"] = 3
    text = shown([told])
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    unbroken = " ".join(text.split())
    for part in (report.reply, report.heard, "1.0 s of audio kept", "! piper: closed", "3 further stages"):
        assert str(part) in unbroken
    for word in ("speech", "14", "above", "expected", "echo,", "140"):
        assert word in text


def test_turns_that_say_little_are_told_all_the_same() -> None:
    """Nothing understood, an announcement, an alarm; and a service that knows less than this command."""
    noise = TurnReport(1, heard="", endpoint=Endpoint(EndpointReason.MAX_LENGTH, 0.0, 12.0, 12.0))
    cut = TurnReport(2, heard="tell me", interrupted=True, endpoint=noise.endpoint, source="llm")
    said = TurnReport(3, reply="The printer is done.", timings=Timings(first_audio_s=0.12, done_s=1.5))
    alarm = TurnReport(4, reply="Wake up.", alert=True)
    text = shown([*told_of(noise, cut, said, alarm), {"turn": 5}])
    assert "#1 (not understood) → (no answer)" in text
    assert "interrupted; no sentence was played to its end" in text
    assert '#3 announcement → "The printer is done."' in text
    assert "playback +120 ms 1380 ms" in " ".join(words_of(line) for line in text.splitlines())
    assert '#4 alert → "Wake up."' in text
    assert "#5 announcement → (no answer)" in text
    assert shown([]) == "no turn yet"


def test_nothing_steers_the_terminal() -> None:
    """Whatever was heard, said or noted."""
    escape = "\x1b]0;title\x07\x1b[2J\n"
    report = TurnReport(1, heard=f"a{escape}", reply=f"b{escape}", intent=f"c{escape}", slots={"d": escape})
    report.timeline.mark(f"e{escape}", 0.0, 1.0, f"f{escape}")
    report.interrupted, report.cut_off_by, report.reply_heard = True, f"g{escape}", f"h{escape}"
    (told,) = told_of(report)
    told["faults"] = [f"i{escape}"]
    text = shown([told])
    assert not {"\x1b", "\x07"} & set(text)
    assert len(text.splitlines()) == 7


def test_a_terminal_of_any_width_is_no_crash() -> None:
    """Bars go first where there is little room."""
    turns = told_of(command(), question())
    for width in (20, 40, 71, 72, 109, 110, 200):
        text = shown(turns, width)
        assert "#12" in text
        assert ("━" in text) == (width >= 72)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.floats(-20_000, 60_000),
    st.none() | st.floats(0, 60_000),
    st.floats(-500, 0),
    st.floats(1, 60_000),
    st.integers(2, 40),
)
def test_a_bar_stays_within_its_columns(
    at_ms: float, took_ms: float | None, from_ms: float, long_ms: float, width: int
) -> None:
    """And there is always something to see."""
    drawn = bar(Row("tts", at_ms, took_ms), from_ms, from_ms + long_ms, width)
    assert 1 <= len(drawn) <= width
    assert drawn.strip()


def test_bars_are_where_their_time_is() -> None:
    """A column a hundredth of the span; arrows point to what lies beyond it."""
    drawn = [
        bar(Row("stage", at_ms, took_ms), 0.0, 1000.0, 10)
        for at_ms, took_ms in [
            (0, 1000),
            (200, 300),
            (990, 1),
            (500, None),
            (800, 900),
            (-300, 500),
            (-5, 1),
            (2000, 1),
        ]
    ]
    assert drawn == [
        "━━━━━━━━━━",
        "  ━━━",
        "         ━",
        "     •",
        "        ━▸",
        "◂━",
        "◂",
        "         ▸",
    ]


def test_rows_are_sorted_by_their_beginning() -> None:
    """Marks are made when a stage ends."""
    report = command()
    report.timeline.mark("llm.prefill", 1.0, 1.1)
    rows = rows_of(told_of(report)[0])
    assert [row.stage for row in rows] == ["llm.prefill", "endpoint", "asr.preview", "playback"]
    assert [round(row.at_ms) for row in rows] == [-620, 0, 160, 331]


@asynccontextmanager
async def service(path: Path, config: RecorderConfig, *reports: TurnReport) -> AsyncIterator[FlightRecorder]:
    """Serve what a recorder keeps of these turns; where something was heard in one, its audio is the turn's number."""
    recorder = FlightRecorder(config)
    for report in reports:
        if report.heard is not None:
            recorder.note_audio(report.turn, AudioChunk(bytes([report.turn, 0]) * 1600, HEAR_RATE_HZ))
        recorder.turn_ended(report)
    pool = Pool("general")
    desk = StatusDesk(
        Reporter(Sources(Metrics())),
        pool,
        dict,
        turns=recorder.turns if recorder.keeps_turns else None,
        audio=recorder.audio if recorder.keeps_audio else None,
    )
    rates = RateLimiter("socket", burst=4, per_s=20.0)
    try:
        async with serve_socket(SocketPlace(path, 0o600, None), desk, pool, rates=rates):
            yield recorder
    finally:
        await pool.close()


async def asked(path: Path, *arguments: str) -> Result:
    """Return what `edge-agent status` prints."""
    return await asyncio.to_thread(CliRunner().invoke, status, ["--socket", str(path), *arguments])


async def test_the_command_shows_the_last_turns(tmp_path: Path) -> None:
    """Ten unless told; `--json` is the list as it is."""
    reports = [TurnReport(number, heard=f"number {number}") for number in range(1, 15)]
    async with service(tmp_path / "s", RecorderConfig(), *reports) as recorder:
        for arguments, count in ((["--turns"], 10), (["--turns", "3"], 3), (["--turns", "100"], 14)):
            text = (await asked(tmp_path / "s", *arguments)).stdout
            assert text.count("number ") == count
            assert '"number 14"' in text
        found = json.loads((await asked(tmp_path / "s", "--turns", "--json")).stdout)
        assert [turn["turn"] for turn in found] == list(range(5, 15))
        assert found[-1].keys() == recorder.turns(1)[0].keys()


async def test_audio_is_saved_where_it_is_kept(tmp_path: Path) -> None:
    """A file a turn, with what was heard in it, for its owner alone; more of them than may be asked for at once."""
    reports = [TurnReport(number, heard="x") for number in range(1, 10)]
    async with service(tmp_path / "s", RecorderConfig(audio_turns=7), *reports):
        done = await asked(tmp_path / "s", "--turns", "--json", "--audio", str(tmp_path / "new" / "dir"))
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    files = sorted((tmp_path / "new" / "dir").iterdir())
    days = ["".join(filter(str.isdigit, turn["at"][:19])) for turn in found]
    assert [file.name for file in files] == [f"turn-{number:04}-{days[number - 1]}.wav" for number in range(3, 10)]
    assert done.stderr.splitlines() == [f"saved {file}" for file in files]
    for number, path in enumerate(files, 3):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (HEAR_RATE_HZ, 1, 2)
            assert file.readframes(10_000) == bytes([number, 0]) * 1600


async def test_where_nothing_is_kept_the_remedy_is_told(tmp_path: Path) -> None:
    """In one line; for turns, for audio, and for turns that had none."""
    path, there = tmp_path / "s", str(tmp_path / "audio")
    report = TurnReport(1, reply="An announcement.")
    for config, arguments, remedy in (
        (RecorderConfig(turns=0), ["--turns"], "no turns are kept; set recorder.turns to 1 or more, and restart"),
        (RecorderConfig(), ["--turns", "--audio", there], "no audio is kept; set recorder.audio_turns to 1 or more"),
        (RecorderConfig(audio_turns=5), ["--turns", "--audio", there], "no audio of turn 1 is kept"),
    ):
        async with service(path, config, report):
            error = (await asked(path, *arguments)).exception
        assert isinstance(error, ServiceError)
        assert remedy in str(error)
        assert "\n" not in str(error)
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []


async def test_audio_that_can_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    """It names the file."""
    (tmp_path / "file").touch()
    async with service(tmp_path / "s", RecorderConfig(audio_turns=1), TurnReport(1, heard="x")):
        error = (await asked(tmp_path / "s", "--turns", "--audio", str(tmp_path / "file" / "dir"))).exception
    assert isinstance(error, AudioFileError)
    assert "turn-0001" in str(error)
    assert "can't be written: Not a directory" in str(error)


@pytest.mark.parametrize("arguments", [["--audio", "x"], ["--turns", "0"], ["--turns", "101"], ["--turns", "many"]])
def test_wrong_usage_is_refused(arguments: list[str]) -> None:
    """Before anybody is asked."""
    assert CliRunner().invoke(status, arguments).exit_code == 2


def test_help_tells_of_turns() -> None:
    """With how many there are."""
    text = " ".join(CliRunner().invoke(status, ["--help"]).output.split())
    assert "--turns [N] Show the last N turns, 10 unless told" in text
    assert "--audio DIR" in text
