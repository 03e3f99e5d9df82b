"""The whole agent, live, with no fakes: PulseAudio null sinks for microphone and speaker, a child process between."""

from __future__ import annotations

import json
import signal
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import psutil
import pytest
from commands import CommandLine
from live_agent import CONFIG, render, running
from pulse_rig import PulseRig

pytestmark = [pytest.mark.live, pytest.mark.slow]

REPLIES = """
intents:
  Reply:
    data:
      - sentences:
          - "timer set for (five|ten|fifteen|twenty|thirty|forty) minutes"
          - "the (lamp|fan|heater|radio) is (on|off)"
          - "volume is (ten|twenty|thirty|fifty) percent"
          - "you have no timers"
    action: {reply: "heard"}
"""


def test_a_conversation_through_microphone_and_speaker(
    pulse_rig: PulseRig, command_line: CommandLine, speech_dir: Path
) -> None:
    """A recorded question goes in by the microphone; what leaves the speaker is recognized as the answer."""
    home = speech_dir / "home"
    with running(pulse_rig, command_line.home, CONFIG) as agent:
        agent.wait_for_log("listening to")
        for number, (clip, reply) in enumerate(
            [("set_timer", "timer set for ten minutes"), ("turn_on_the_lamp", "the lamp is on")], start=1
        ):
            with pulse_rig.record(command_line.home / f"reply-{number}.wav") as recording:
                pulse_rig.play(home / f"{clip}.wav")
                agent.wait_for_turns(number)
                time.sleep(0.3)  # the monitor is behind the speaker by its latency
            turn = agent.turns[-1]
            assert turn["source"] == "intent", turn
            assert not turn["interrupted"]
            assert recognized(command_line, recording.path) == reply
        status, took_s = agent.stop()
    assert status == 0
    assert took_s < 5
    assert not any("Traceback" in line for line in agent.log)


def test_sigterm_ends_it_in_the_middle_of_an_answer(
    pulse_rig: PulseRig, command_line: CommandLine, speech_dir: Path
) -> None:
    """While it speaks: gone within 5 s, with status 0."""
    with running(pulse_rig, command_line.home, CONFIG) as agent:
        agent.wait_for_log("listening to")
        pulse_rig.play(speech_dir / "home" / "what_time_is_it.wav")
        agent.wait_for_log("intent GetTime")
        status, took_s = agent.stop()
    assert status == 0
    assert took_s < 5


@pytest.mark.parametrize("after_s", [0.2, 0.6, 1.0, 1.4])
def test_sigterm_ends_it_while_it_starts(pulse_rig: PulseRig, command_line: CommandLine, after_s: float) -> None:
    """Whatever it is loading at that moment: gone within 5 s, with status 0 and nothing left."""
    with running(pulse_rig, command_line.home, CONFIG) as agent:
        time.sleep(after_s)
        children = psutil.Process(agent.process.pid).children(recursive=True)
        status, took_s = agent.stop()
    # On a busy machine the interpreter itself may not have begun by then: the signal's own action, and nothing is left.
    assert status == 0 or (status == -signal.SIGTERM and not agent.log), agent.log
    assert took_s < 5
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert not any("Traceback" in line for line in agent.log)


def test_status_tells_how_the_service_is_doing(
    pulse_rig: PulseRig, command_line: CommandLine, speech_dir: Path
) -> None:
    """`edge-agent status --json` beside a running service: what it heard, with which engines, and the report."""
    with (
        tempfile.TemporaryDirectory(prefix="edge") as runtime,  # a socket's path is short, pytest's directories are not
        running(pulse_rig, command_line.home, CONFIG, XDG_RUNTIME_DIR=runtime) as agent,
    ):
        agent.wait_for_log("listening to")
        pulse_rig.play(speech_dir / "home" / "set_timer.wav")
        agent.wait_for_turns(1)
        done = command_line.run("status", "--json", env={"XDG_RUNTIME_DIR": runtime})
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        shown = command_line.run("status", env={"XDG_RUNTIME_DIR": runtime})
        assert shown.returncode == 0, shown.stderr
        assert agent.stop()[0] == 0
    assert found["counters"]["turns"] == 1
    assert found["counters"]["answered_by_intent"] == 1
    assert found["engines"]["asr"].startswith("pocketsphinx")
    assert found["audio"]["frames_lost"] == 0
    report = found["report"]
    assert {pool["name"] for pool in report["pools"]} >= {"capture", "asr", "llm", "tts", "file_io", "general"}
    assert {claim["name"] for claim in report["cores"]["claims"]} == {"asr", "tts", "llm"}
    assert {channel["name"] for channel in report["channels"]} >= {"microphone", "turn.audio", "phrases"}
    assert any(work["kind"] == "asr.preview" and work["completed"] >= 1 for work in report["work"])
    assert report["cores"]["held"] <= report["cores"]["cores"]
    assert "pocketsphinx" in shown.stdout


def test_the_microphone_is_unplugged_and_comes_back(
    pulse_rig: PulseRig, command_line: CommandLine, speech_dir: Path
) -> None:
    """The service survives, says so in one line, and hears again when the microphone is back."""
    with running(pulse_rig, command_line.home, CONFIG) as agent:
        agent.wait_for_log("listening to")
        pulse_rig.unload_microphone()
        agent.wait_for_log("trying again in")
        pulse_rig.load_microphone()
        agent.wait_for_log("listening to", count=2)
        pulse_rig.play(speech_dir / "home" / "set_timer.wav")
        agent.wait_for_turns(1)
        assert agent.turns[0]["intent"] == "SetTimer"
        assert agent.stop()[0] == 0


def test_the_service_waits_for_a_microphone_that_is_absent(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """An absent device is retried, not refused."""
    with running(pulse_rig, command_line.home, CONFIG.replace(PulseRig.microphone, "no such microphone")) as agent:
        agent.wait_for_log("no such microphone", count=2)
        assert agent.stop()[0] == 0


def recognized(command_line: CommandLine, recording: Path) -> str:
    """Recognize what the agent said, with a grammar of possible replies."""
    command_line.write("replies.yaml", REPLIES)
    config = command_line.write("replies.toml", '[intents]\nbuiltin = false\npaths = ["replies.yaml"]\n')
    done = command_line.run("transcribe", recording, "--config", config)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_noise(path: Path, seconds: float) -> None:
    """Write a burst of noise, as a cough is."""
    rng = np.random.default_rng(5)
    burst = rng.normal(0, 6000, round(seconds * 16_000)) * np.hanning(round(seconds * 16_000))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(burst.astype("<i2").tobytes())


def test_people_can_cut_in_by_speaking_and_go_on_with_what_they_want(
    pulse_rig: PulseRig, command_line: CommandLine, speech_dir: Path
) -> None:
    """A long answer is cut off by a question, which is answered; a cough before that only holds it for a moment."""
    question = render(command_line.home / "help.wav", "what can you do")
    cough = command_line.home / "cough.wav"
    write_noise(cough, 0.25)
    with (
        tempfile.TemporaryDirectory(prefix="edge") as runtime,
        running(pulse_rig, command_line.home, CONFIG, XDG_RUNTIME_DIR=runtime) as agent,
    ):
        agent.wait_for_log("listening to")
        pulse_rig.play(question)
        agent.wait_for_log("speaking to")
        time.sleep(1.5)
        pulse_rig.play(cough)
        time.sleep(1.0)
        pulse_rig.play(speech_dir / "home" / "what_time_is_it.wav")
        agent.wait_for_turns(2)
        shown = command_line.run("status", "--turns", env={"XDG_RUNTIME_DIR": runtime})
        recorded = json.loads(command_line.run("status", "--turns", "--json", env={"XDG_RUNTIME_DIR": runtime}).stdout)
        assert agent.stop()[0] == 0
    helped, told = agent.turns[:2]
    assert (helped["intent"], helped["interrupted"]) == ("Help", True)
    assert (told["intent"], told["interrupted"]) == ("GetTime", False)
    assert recorded[0]["cut_off_by"] == "speech"
    # What was heard of the answer is its beginning, and not all of it.
    assert helped["reply"].startswith(recorded[0]["reply_heard"])
    assert 0 < len(recorded[0]["reply_heard"]) < len(helped["reply"])
    assert {"asr.preview", "endpoint", "understand"} <= {mark["stage"] for mark in recorded[1]["timeline"]}
    assert shown.returncode == 0, shown.stderr
    assert "speech" in shown.stdout


def test_a_timer_is_asked_back_about_rings_and_is_stopped_by_voice(
    pulse_rig: PulseRig, command_line: CommandLine
) -> None:
    """What "set a timer" lacks "five seconds" gives; it rings, and a single "stop" ends that."""
    said = {text: render(command_line.home / f"{text}.wav", text) for text in ("set a timer", "five seconds", "stop")}
    with running(pulse_rig, command_line.home, f"{CONFIG}\n[timers]\nrepeat_s = 3\n") as agent:
        agent.wait_for_log("listening to")
        pulse_rig.play(said["set a timer"])
        agent.wait_for_turns(1)
        pulse_rig.play(said["five seconds"])
        agent.wait_for_turns(3)
        time.sleep(0.3)
        pulse_rig.play(said["stop"])
        agent.wait_for_turns(4)
        time.sleep(7)
        assert agent.stop()[0] == 0
    asked, set_, rang, stopped = agent.turns[:4]
    assert (asked["intent"], asked["reply"]) == ("SetTimer", "For how long?")
    assert (set_["intent"], set_["slots"], set_["reply"]) == ("SetTimer", {"seconds": 5}, "Timer set for five seconds.")
    assert (rang["heard"], rang["reply"]) == (None, "Your five second timer is done.")
    assert stopped["intent"] == "Stop"
    assert len(agent.turns) == 4
