"""A user's own intents: replies, a switch, an event over MQTT, a hand-over to the model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiomqtt
from commands import CommandLine
from mosquitto_broker import Broker

MINE = """
intents:
  OrderCoffee:
    data:
      - sentences: ["(brew|make) [me] [a] {size} {drink}"]
    action:
      reply: "One {size} {drink}, coming up."
      publish: coffee_ordered
  WorkLight:
    data:
      - sentences: ["I [want to] work now"]
    action:
      gpio: {output: lamp, switch: "on"}
      reply: ["Work well.", "Good luck."]
  Advice:
    data:
      - sentences: ["give me advice"]
    action:
      llm: "Answer in one sentence."
      reply: "I have no model to ask."
lists:
  size: {values: [small, large]}
  drink: {values: [espresso, latte]}
"""

WITH_LAMP = '[intents]\npaths = ["mine.yaml"]\n[gpio.outputs.lamp]\npin = 17\n'


def ask(command_line: CommandLine, text: str, extra: str = "") -> dict[str, object]:
    """Ask with the intents above and a simulated lamp."""
    command_line.write("mine.yaml", MINE)
    config = command_line.write(
        "config.toml",
        f'[intents]\npaths = ["mine.yaml"]\n[gpio]\ndriver = "simulated"\n[gpio.outputs.lamp]\npin = 17\n{extra}',
    )
    done = command_line.run("ask", text, "--json", "--config", config)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


async def test_an_intent_publishes_its_slots_over_mqtt(command_line: CommandLine, broker: Broker) -> None:
    """Asked in writing, the event reaches a subscriber through a real broker, with the slots and an id."""
    await asyncio.to_thread(broker.start)
    mqtt = f'device_id = "kitchen"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("edge-agent/kitchen/event/coffee_ordered", qos=1)
        # A top-level key has to come first in TOML.
        command_line.write("mine.yaml", MINE)
        config = command_line.write("config.toml", f"{mqtt}{WITH_LAMP}")
        done = await asyncio.to_thread(command_line.run, "ask", "make me a large latte", "--json", "--config", config)
        assert done.returncode == 0, done.stderr
        async with asyncio.timeout(20):
            message = await anext(client.messages)
    assert isinstance(message.payload, bytes)
    event = json.loads(message.payload)
    assert event["slots"] == {"size": "large", "drink": "latte"}
    assert event["id"]
    assert json.loads(done.stdout)["reply"] == "One large latte, coming up."


def test_without_a_broker_the_log_says_that_the_event_went_nowhere(command_line: CommandLine) -> None:
    """The reply is given all the same, and nothing is lost in silence."""
    command_line.write("mine.yaml", MINE)
    config = command_line.write("config.toml", WITH_LAMP)
    done = command_line.run("ask", "brew small espresso", "--config", config)
    assert done.stdout.strip() == "One small espresso, coming up."
    assert "mqtt.host is not configured" in done.stderr


def test_an_intent_switches_an_output_and_replies(command_line: CommandLine) -> None:
    """The lamp is switched; of several replies one is said."""
    answer = ask(command_line, "I want to work now")
    assert (answer["intent"], answer["reply"]) == ("WorkLight", "Work well.")


def test_without_gpio_the_reply_says_so(command_line: CommandLine) -> None:
    """Not a crash, and not a claim that the lamp is on."""
    command_line.write("mine.yaml", MINE)
    config = command_line.write("config.toml", WITH_LAMP)
    if Path("/dev/gpiochip0").exists():
        return  # a board: the pin is real, and the test above covers the rest
    done = command_line.run("ask", "I work now", "--config", config)
    assert done.returncode == 0
    assert "GPIO" in done.stdout
    assert "Work well" not in done.stdout


def test_a_hand_over_goes_to_the_model_and_without_one_to_the_reply(
    command_line: CommandLine, models_dir: Path
) -> None:
    """With a model its words, without one the intent's own."""
    assert ask(command_line, "give me advice")["reply"] == "I have no model to ask."
    model = f'[llm]\nmodel = "{models_dir / "llm" / "stories260K.gguf"}"\nmax_answer_tokens = 20\n'
    answer = ask(command_line, "give me advice", model)
    assert (answer["intent"], answer["source"]) == ("Advice", "llm")
    assert answer["reply"]
