"""The whole service on a real broker: watched, changed, commanded and rolled back while it hears and speaks."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import CommandLine
from live_agent import CONFIG, Agent, render, running
from mosquitto_broker import Broker
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pulse_rig import PulseRig

pytestmark = [pytest.mark.live, pytest.mark.slow]

DEADLINE_S = 60
ROOT = "edge-agent/kitchen"


class Operator:
    """Whoever looks after the device: remembers the last payload of each topic, and all events."""

    def __init__(self, port: int) -> None:
        self.last: dict[str, Any] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._news = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("#", qos=1)
        self._client.loop_start()

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: Any, *, retain: bool = False) -> None:  # noqa: ANN401 - any JSON
        """Send JSON, and wait for the broker's acknowledgement."""
        self._client.publish(topic, json.dumps(payload), qos=1, retain=retain).wait_for_publish(10)

    def desire(self, revision: int, patch: dict[str, Any]) -> dict[str, Any]:
        """Ask for a configuration; return what the device reports of it."""
        self.publish(f"{ROOT}/config/desired", {"revision": revision, "patch": patch}, retain=True)

        def is_settled(reported: dict[str, Any]) -> bool:
            document = reported.get("document") or {}
            return document.get("revision") == revision

        found: dict[str, Any] = self.wait(f"{ROOT}/config/reported", is_settled)
        return found

    def command(self, name: str, /, **args: Any) -> dict[str, Any]:  # noqa: ANN401 - as the command has them
        """Give a command; return its result."""
        number = uuid.uuid4().hex
        self.publish(f"{ROOT}/command/{name}", {"id": number, "args": args})
        found: dict[str, Any] = self.wait(f"{ROOT}/command/{name}/result", lambda result: result["id"] == number)
        return found

    def wait(self, topic: str, fits: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - any JSON
        """Wait until the last payload of a topic fits."""
        end = time.monotonic() + DEADLINE_S
        with self._news:
            while not (topic in self.last and fits(self.last[topic])):
                left_s = end - time.monotonic()
                assert left_s > 0, f"{topic} stays {self.last.get(topic)!r}"
                self._news.wait(left_s)
            return self.last[topic]

    def wait_for_event(self, name: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Wait for an event, one from before this call too."""
        end = time.monotonic() + DEADLINE_S
        with self._news:
            while True:
                found = [event for topic, event in self.events if topic == f"{ROOT}/event/{name}" and fits(event)]
                if found:
                    return found[0]
                left_s = end - time.monotonic()
                assert left_s > 0, f"no event {name} among {self.events}"
                self._news.wait(left_s)

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        text = message.payload.decode()
        payload: Any = json.loads(text) if text[:1] in '{["' else text
        with self._news:
            self.last[message.topic] = payload
            if "/event/" in message.topic:
                self.events.append((message.topic, payload))
            self._news.notify_all()


@contextmanager
def device(rig: PulseRig, home: Path, broker: Broker, more: str = "") -> Iterator[tuple[Agent, Operator]]:
    """Run a device on the broker, with somebody who looks after it."""
    own = f'device_id = "kitchen"\n{CONFIG}\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n{more}'
    operator = Operator(broker.port)
    try:
        with running(rig, home, own) as agent:
            agent.wait_for_log("listening to")
            operator.wait(f"{ROOT}/availability", lambda text: text == "online")
            yield agent, operator
    finally:
        operator.close()


def test_a_device_is_watched_and_commanded(pulse_rig: PulseRig, command_line: CommandLine, broker: Broker) -> None:
    """Status, turn events without words, commands with results, Home Assistant's discovery, and a clean farewell."""
    broker.start()
    spoken = render(command_line.home / "lamp.wav", "turn on the lamp")
    with device(pulse_rig, command_line.home, broker, "[home_assistant]\nenabled = true\n") as (agent, operator):
        status = operator.wait(f"{ROOT}/status", lambda status: status.get("audio", {}).get("microphone"))
        assert status["engines"]["asr"]
        assert (status["state"], status["muted"], status["problem"]) == ("listening", False, False)
        discovery = operator.wait("homeassistant/device/kitchen/config", bool)
        assert discovery["components"]
        pulse_rig.play(spoken)
        agent.wait_for_turns(1)
        turn = operator.wait_for_event("turn", lambda event: event["intent"] == "SwitchOutput")
        assert "lamp" not in json.dumps(turn), "texts are private by default"
        asked = operator.command("ask", text="what time is it")
        assert asked["ok"], asked
        assert asked["data"]["reply"]
        assert operator.command("say", text="the soup is ready")["ok"]
        assert operator.command("volume", percent=35)["ok"]
        operator.wait(f"{ROOT}/status", lambda status: status["volume"] == 35)
        assert operator.command("mute")["ok"]
        operator.wait(f"{ROOT}/status", lambda status: status["muted"])
        refused = operator.command("restart")
        assert (refused["ok"], refused["error"]["code"]) == (False, "unavailable")
        assert operator.command("dance")["error"]["code"] == "unknown_command"
        pulled = operator.command("pull_model", name="wake-words")
        assert "pymicro-wakeword" in pulled["data"]["message"], pulled
        absent = operator.command("pull_model", name="no-such-model")
        assert "no-such-model" in absent["error"]["message"], absent
        assert agent.stop()[0] == 0
        operator.wait(f"{ROOT}/availability", lambda text: text == "offline")


def test_a_device_is_configured_and_rolls_back_what_breaks_it(
    pulse_rig: PulseRig, command_line: CommandLine, broker: Broker
) -> None:
    """Good changes are applied while it hears, wrong ones rejected, breaking ones rolled back; a restart keeps them."""
    broker.start()
    home = command_line.home
    (home / "broken.yaml").write_text("intents: {Broken: {data: [{sentences: ['(']}]}}", encoding="utf-8")
    spoken = render(home / "lamp.wav", "turn on the lamp")
    with device(pulse_rig, home, broker, "[remote]\nhealth_s = 10\n") as (agent, operator):
        good = operator.desire(1, {"tts": {"flite": {"voice": "rms"}}, "audio": {"volume": 45}})
        assert (good["outcome"], good["revisions"]["device"]) == ("applied", 1)
        rejected = operator.desire(2, {"audio": {"volum": 45}, "mqtt": {"host": "elsewhere"}})
        assert rejected["outcome"] == "rejected"
        assert {error["key"] for error in rejected["errors"]} == {"audio.volum", "mqtt.host"}
        for revision, patch, key in (
            (3, {"tts": {"engine": "piper", "piper": {"voice": str(home / "absent.onnx")}}}, "tts.piper.voice"),
            (4, {"intents": {"paths": [str(home / "broken.yaml")]}}, "intents.paths"),
            (5, {"audio": {"input_device": "no such microphone"}}, "audio.input_device"),
        ):
            broken = operator.desire(revision, patch)
            assert broken["outcome"] == "rolled_back", broken
            assert key in {error["key"] for error in broken["errors"]}, broken
            assert broken["revisions"]["device"] == 1
        pulse_rig.play(spoken)
        agent.wait_for_turns(1)
        assert agent.turns[0]["intent"] == "SwitchOutput", agent.turns
        assert agent.stop()[0] == 0
    with device(pulse_rig, home, broker, "[remote]\nhealth_s = 10\n") as (agent, operator):
        kept = operator.wait(f"{ROOT}/config/reported", lambda reported: reported["revisions"]["device"] == 1)
        assert kept["hash"] == good["hash"]
        operator.wait(f"{ROOT}/status", lambda status: status["volume"] == 45)
