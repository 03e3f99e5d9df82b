"""The service as its manager sees it: `edge-agent run` live on PulseAudio null sinks, the test in systemd's place."""

from __future__ import annotations

import itertools
import signal
import time

import pytest
from commands import CommandLine
from live_agent import CONFIG, running
from pulse_rig import PulseRig
from service_manager import service_manager

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_the_service_manager_is_told_the_truth(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """Ready when sound flows; fed while it does, and while the microphone is known to be away; stopping when told."""
    with (
        service_manager() as manager,
        running(pulse_rig, command_line.home, CONFIG, **manager.environment(watchdog_s=3)) as agent,
    ):
        manager.wait_for(lambda: manager.values("READY"), "READY=1")
        before_ready = [fields for _, fields in manager.messages if "WATCHDOG" not in fields]
        assert before_ready[0] == {"EXTEND_TIMEOUT_USEC": "60000000"}
        assert before_ready[1]["STATUS"].startswith("loading")
        assert before_ready[-1] == {"READY": "1", "STATUS": f"listening on {PulseRig.microphone}"}
        agent.wait_for_log("listening to")

        pulse_rig.unload_microphone()
        manager.wait_for_status("deaf: ")
        deaf_at_s = time.monotonic()
        manager.wait_for(lambda: manager.times("WATCHDOG")[-1] > deaf_at_s + 15, "feeds while it is deaf")
        pulse_rig.load_microphone()
        manager.wait_for(
            lambda: manager.values("STATUS")[-1].startswith(f"listening on {PulseRig.microphone}"),
            "the microphone's return",
        )
        feeds = manager.times("WATCHDOG")
        longest_s = max(after - before for before, after in itertools.pairwise(feeds))
        assert longest_s < 3, "it would have been killed"

        status, took_s = agent.stop()
        manager.wait_for(lambda: manager.values("STOPPING"), "STOPPING=1")
    assert (status, manager.values("STOPPING")) == (0, ["1"])
    assert took_s < 5
    assert manager.values("READY") == ["1"], "once"
    assert not any("not alive" in line or "Traceback" in line for line in agent.log)


def test_a_service_without_a_microphone_is_ready_and_says_so(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """It must not run into the start timeout over and over for an unplugged cable."""
    config = CONFIG.replace(PulseRig.microphone, "no such microphone")
    with service_manager() as manager, running(pulse_rig, command_line.home, config, **manager.environment(3)) as agent:
        manager.wait_for(lambda: manager.values("READY"), "READY=1")
        ready = next(fields for _, fields in manager.messages if "READY" in fields)
        assert ready["STATUS"].startswith("deaf: ")
        assert "no such microphone" in ready["STATUS"]
        assert agent.stop()[0] == 0


def test_a_stopped_process_is_not_fed(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """SIGSTOP ends the signs of life, as anything does that keeps the loop from running; after SIGCONT they go on."""
    with service_manager() as manager, running(pulse_rig, command_line.home, CONFIG, **manager.environment(3)) as agent:
        manager.wait_for(lambda: manager.values("READY"), "READY=1")
        agent.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        fed = len(manager.times("WATCHDOG"))
        time.sleep(4)  # longer than the interval: systemd would have acted
        assert len(manager.times("WATCHDOG")) == fed
        agent.process.send_signal(signal.SIGCONT)
        manager.wait_for(lambda: len(manager.times("WATCHDOG")) > fed + 2, "signs of life")
        assert agent.stop()[0] == 0


def test_a_dying_process_says_what_it_was_doing(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """The watchdog's SIGABRT leaves each thread's place in the log."""
    with service_manager() as manager, running(pulse_rig, command_line.home, CONFIG, **manager.environment(3)) as agent:
        manager.wait_for(lambda: manager.values("READY"), "READY=1")
        agent.process.send_signal(signal.SIGABRT)
        assert agent.process.wait(10) == -signal.SIGABRT
    text = "".join(agent.log)
    assert "Fatal Python error: Aborted" in text
    assert "most recent call first" in text


def test_reload_reads_the_file_again(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """SIGHUP: a right file is in force without a restart; a wrong one changes nothing and is told, a line a key."""
    file = command_line.home / "config.toml"
    with service_manager() as manager, running(pulse_rig, command_line.home, CONFIG, **manager.environment(3)) as agent:
        manager.wait_for(lambda: manager.values("READY"), "READY=1")
        file.write_text(f'{CONFIG}\n[tts]\nengine = "no such engine"\n', encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for_log("the configuration file is not taken: ")
        assert manager.values("RELOADING") == []

        file.write_text(f"{CONFIG}\n[endpoint]\nlongest_s = 2\n[mqtt]\nkeep_alive_s = 60\n", encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for_log("the configuration file was read again, and is in force")
        agent.wait_for_log("mqtt.keep_alive_s: takes effect at the next start")
        manager.wait_for(lambda: len(manager.values("READY")) == 2, "READY=1 after the reload")
        assert manager.values("RELOADING") == ["1"]
        assert any("changing the configuration: link, ears" in status for status in manager.values("STATUS"))
        assert agent.stop()[0] == 0
