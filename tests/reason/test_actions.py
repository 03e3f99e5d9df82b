"""What intents do and answer: timers, volume, outputs, status and the user's own actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from edge_agent.errors import DeviceError
from edge_agent.reason.actions import Actor, Control, PublishedEvent, Reply
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.templates import load_intents
from edge_agent.reason.timers import TimerBook
from edge_agent.reason.wording import Wording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.reason.ports import Switch

ZONE_START = datetime(2026, 3, 3, 10, 5, tzinfo=UTC)


class FakeClock:
    """Tuesday, five past ten, until told otherwise."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> datetime:
        """The wall clock goes with the other one."""
        return ZONE_START + timedelta(seconds=self.at_s)

    def monotonic(self) -> float:
        """Seconds."""
        return self.at_s


@dataclass
class FakeOutputs:
    """Outputs that remember; `broken` ones refuse."""

    on: dict[str, bool]
    broken: set[str] = field(default_factory=set)

    def names(self) -> Sequence[str]:
        """All of them."""
        return list(self.on)

    def switch(self, name: str, to: Switch) -> bool:
        """Switch or refuse."""
        if name in self.broken:
            raise DeviceError(f"output {name}", "the pin is in use")
        self.on[name] = not self.on[name] if to == "toggle" else to == "on"
        return self.on[name]


@dataclass
class FakeVolume:
    """A volume that remembers; a broken one refuses."""

    percent: int = 80
    muted: bool = False
    broken: bool = False

    def set_percent(self, percent: int) -> None:
        """Set or refuse."""
        self._refuse()
        self.percent = percent

    def set_muted(self, muted: bool) -> None:
        """Set or refuse."""
        self._refuse()
        self.muted = muted

    def _refuse(self) -> None:
        if self.broken:
            raise DeviceError("speaker", "it is unplugged")


@dataclass
class FakeStatus:
    """Figures that the test sets."""

    temperature: float | None = 45.2
    memory: int | None = 512_300_000

    def uptime_s(self) -> float:
        """A bit over two hours."""
        return 7260.0

    def temperature_c(self) -> float | None:
        """Set by the test."""
        return self.temperature

    def memory_free_bytes(self) -> int | None:
        """Set by the test."""
        return self.memory


class Device:
    """An actor with everything fake around it, spoken to in sentences."""

    def __init__(self, language: str = "en", paths: Sequence[Path] = (), outputs: Sequence[str] = ("lamp",)) -> None:
        self.intents = load_intents(language, builtin=True, paths=paths, outputs=dict.fromkeys(outputs, ()))
        self.clock = FakeClock()
        self.outputs = FakeOutputs(dict.fromkeys(outputs, False))
        self.volume = FakeVolume()
        self.status = FakeStatus()
        self.timers = TimerBook(self.clock, limit=5)
        self.actor = Actor(
            self.intents,
            clock=self.clock,
            outputs=self.outputs,
            volume=self.volume,
            status=self.status,
            timers=self.timers,
        )
        self._matcher = IntentMatcher(self.intents.intents, language)

    def reply(self, sentence: str) -> Reply:
        """What it answers and does."""
        match = self._matcher.match([sentence], forgiving=False)
        assert match is not None, sentence
        return self.actor.perform(match)

    def ask(self, sentence: str) -> str:
        """What it answers."""
        return self.reply(sentence).text


@pytest.fixture
def device() -> Device:
    """An English device with a lamp."""
    return Device()


DIALOGUES: list[tuple[str, list[tuple[str, str]]]] = [
    (
        "en",
        [
            ("what time is it", "It's ten oh five a.m."),
            ("what's the date today", "It's Tuesday, the third of March, twenty twenty-six."),
            ("never mind", "Okay."),
            ("volume fifty percent", "Volume fifty percent."),
            ("turn it up", "Volume sixty percent."),
            ("increase the volume by fifty percent", "Volume one hundred percent."),
            ("turn the volume down by twenty percent", "Volume eighty percent."),
            ("turn on the lamp", "The lamp is on."),
            ("toggle the lamp", "The lamp is off."),
            ("lamp off", "The lamp is off."),
        ],
    ),
    (
        "en",
        [
            ("how much time is left", "There is no timer."),
            ("cancel the timer", "There is no timer."),
            ("set a timer", "For how long? Say for example: set a timer for ten minutes."),
            ("set a timer for ten minutes", "Timer set for ten minutes."),
            ("how much time is left", "The ten minute timer has ten minutes left."),
            ("pause the timer", "I've paused the ten minute timer with ten minutes left."),
            ("pause the timer", "The ten minute timer is paused with ten minutes left."),
            ("how long is left", "The ten minute timer is paused with ten minutes left."),
            ("resume the timer", "The ten minute timer goes on, with ten minutes left."),
            ("resume the timer", "The ten minute timer has ten minutes left."),
            ("cancel the egg timer", "I can't find the egg timer."),
            ("cancel the five minute timer", "I can't find the five minute timer."),
            ("cancel the timer", "I've cancelled the ten minute timer."),
            ("cancel all timers", "There is no timer."),
        ],
    ),
    (
        "en",
        [
            ("set a pasta timer for ten minutes", "Pasta timer set for ten minutes."),
            ("set a timer for a minute and a half", "Timer set for one minute and thirty seconds."),
            (
                "check my timers",
                (
                    "You have two timers. The one minute thirty second timer has one minute and thirty seconds left. "
                    "The pasta timer has ten minutes left."
                ),
            ),
            (
                "cancel the timer",
                "You have two timers: the pasta timer and the one minute thirty second timer. Which one do you mean?",
            ),
            ("how long is left on the pasta timer", "The pasta timer has ten minutes left."),
            ("pause the pasta timer", "I've paused the pasta timer with ten minutes left."),
            ("resume the timer", "The pasta timer goes on, with ten minutes left."),
            ("pause all timers", "I've paused two timers."),
            ("pause all timers", "No timer is running."),
            ("resume all timers", "Two timers go on."),
            ("resume all timers", "No timer is paused."),
            ("set a pasta timer for two minutes", "Pasta timer set for two minutes."),
            ("cancel the pasta timer", "I've cancelled the pasta timer."),
            ("how long is left on the pasta timer", "The pasta timer has ten minutes left."),
            ("cancel both timers", "I've cancelled two timers."),
        ],
    ),
    (
        "zh",
        [
            ("现在几点了", "现在是上午十点零五分。"),
            ("今天几号", "今天是二零二六年三月三日，星期二。"),
            ("设一个十分钟的计时器", "计时器设好了，十分钟。"),
            ("二十五分钟的面条计时器", "面条计时器设好了，二十五分钟。"),
            ("面条计时器还剩多久", "面条计时器还剩二十五分钟。"),
            ("取消计时器", "有两个计时器：十分钟的计时器和面条计时器。您指的是哪一个？"),
            ("暂停面条计时器", "面条计时器已暂停，还剩二十五分钟。"),
            ("取消十分钟的计时器", "十分钟的计时器已取消。"),
            ("取消所有计时器", "面条计时器已取消。"),
            ("音量调到百分之五十", "音量百分之五十。"),
            ("声音大一点", "音量百分之六十。"),
            ("打开台灯", "台灯已打开。"),
            ("把台灯关掉", "台灯已关闭。"),
            ("你好吗", "我很好。已经运行了两小时一分钟，处理器温度四十五度，可用内存五百兆。"),
            (
                "你能做什么",
                "我可以报时间和日期、设计时器、调节音量，还可以开关台灯。您可以问我：现在几点，或者说：设一个十分钟的计时器。",
            ),
        ],
    ),
]


@pytest.mark.parametrize(("language", "turns"), DIALOGUES)
def test_dialogue(language: str, turns: list[tuple[str, str]]) -> None:
    """Said in this order, each sentence gets its answer."""
    device = Device(language, outputs=["台灯"] if language == "zh" else ["lamp"])
    assert [(said, device.ask(said)) for said, _ in turns] == turns


@pytest.mark.parametrize(
    ("sentence", "control"),
    [
        ("stop", Control.STOP),
        ("say that again", Control.REPEAT),
        ("mute", Control.MUTE),
        ("unmute", Control.UNMUTE),
        ("never mind", Control.NONE),
        ("what time is it", Control.NONE),
    ],
)
def test_control(device: Device, sentence: str, control: Control) -> None:
    """Some intents are for the pipeline to carry out."""
    reply = device.reply(sentence)
    assert reply.control is control
    assert reply.text


def test_muting_and_turning_the_volume_up_again(device: Device) -> None:
    """Muting keeps the volume; setting the volume ends the silence and tells the pipeline."""
    device.reply("mute")
    assert (device.volume.muted, device.volume.percent) == (True, 80)
    reply = device.reply("turn it up")
    assert (device.volume.muted, device.volume.percent, reply.control) == (False, 90, Control.UNMUTE)
    device.reply("mute")
    device.reply("unmute")
    assert device.volume.muted is False


def test_volume_stays_within_its_bounds(device: Device) -> None:
    """Up and down end at 100 and 0."""
    device.ask("volume zero")
    assert device.ask("volume down") == "Volume zero percent."
    device.ask("maximum volume")
    assert device.ask("volume up") == "Volume one hundred percent."


@pytest.mark.parametrize("sentence", ["volume fifty", "turn it up", "mute", "unmute"])
def test_a_volume_that_fails_is_told(device: Device, sentence: str) -> None:
    """The device's reason is spoken, and nothing is claimed to have happened."""
    device.volume.broken = True
    reply = device.reply(sentence)
    assert reply == Reply("I can't change the volume: it is unplugged.")


def test_an_output_that_fails_is_told(device: Device) -> None:
    """The device's reason is spoken."""
    device.outputs.broken.add("lamp")
    assert device.ask("turn on the lamp") == "I can't switch the lamp: the pin is in use."
    assert device.outputs.on == {"lamp": False}


def test_an_outputs_name_is_spoken_without_underscores() -> None:
    """A configured desk_fan is a desk fan."""
    device = Device(outputs=["desk_fan"])
    assert device.ask("turn on the desk fan") == "The desk fan is on."
    assert device.outputs.on == {"desk_fan": True}


def test_status(device: Device) -> None:
    """What can't be measured is left out, or told when it was asked for."""
    assert device.ask("how are you") == (
        "I'm fine. I've been running for two hours and one minute, my processor has forty-five degrees, "
        "and five hundred megabytes of memory are free."
    )
    assert device.ask("how hot are you") == "My processor has forty-five degrees."
    assert device.ask("how much memory is free") == "Five hundred megabytes of memory are free."
    assert device.ask("how long have you been running") == "I've been running for two hours and one minute."
    device.status.temperature = device.status.memory = None
    assert device.ask("how are you") == "I'm fine. I've been running for two hours and one minute."
    assert device.ask("how hot are you") == "I can't measure my temperature on this machine."
    assert device.ask("how much memory is free") == "I can't tell how much memory is free."


def test_help_names_the_outputs_if_there_are_any() -> None:
    """Nothing is offered that can't be done."""
    assert "switch the lamp and fan" in Device(outputs=["lamp", "fan"]).ask("what can you do")
    assert "switch" not in Device(outputs=[]).ask("what can you do")


@pytest.mark.parametrize(
    ("said", "announced"),
    [
        ("set a timer for ten minutes", "Your ten minute timer is done."),
        ("a ten minute pasta timer", "Your ten minute pasta timer is done."),
        ("set a timer for a minute and a half", "Your one minute thirty second timer is done."),
    ],
)
def test_a_timer_is_announced(device: Device, said: str, announced: str) -> None:
    """The announcement tells which timer it was."""
    device.ask(said)
    device.clock.at_s += 600
    (timer,) = device.timers.pop_due()
    assert device.actor.announce(timer) == announced


def test_what_is_left_goes_down(device: Device) -> None:
    """Status follows the clock."""
    device.ask("set a timer for ten minutes")
    device.clock.at_s += 570.5
    assert device.ask("how long is left") == "The ten minute timer has thirty seconds left."


def test_too_many_timers_are_refused_in_words(device: Device) -> None:
    """The limit is told; nothing is set. Status of many tells only the next five."""
    for _ in range(5):
        device.ask("set a timer for ten minutes")
    assert device.ask("set a timer for ten minutes") == "I can't keep more than five timers."
    assert len(device.timers.timers) == 5


def test_an_unknown_intent_is_a_mistake_of_the_program(device: Device) -> None:
    """Neither built in nor with an action: ValueError, no made-up answer."""

    class Match:
        intent = "Nonsense"
        slots: dict[str, str | int | float] = {}  # noqa: RUF012 - a double

    with pytest.raises(ValueError, match="'Nonsense' has no action"):
        device.actor.perform(Match())


def test_fixed_texts(device: Device) -> None:
    """What the pipeline says by itself comes from the same files."""
    assert device.actor.fixed("not_understood") == "Sorry, I didn't understand that."
    with pytest.raises(KeyError):
        device.actor.fixed("nonsense")


@pytest.fixture
def custom(tmp_path: Path) -> Device:
    """A device with intents of the user's own."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        """
intents:
  Order:
    sentences: ["one {size} {drink} [with {milk}]", "one {drink}"]
    action: {reply: ["One {size} {drink}[ with {milk}], coming up.", "Sure: {drink}."], publish: order}
  Movie: {sentences: [movie time], action: {gpio: {output: lamp, switch: off}, publish: movie}}
  Light: {sentences: [let there be light], action: {gpio: {output: lamp, switch: toggle}, reply: And there was light.}}
  Ping: {sentences: ["ping {n}"], action: {publish: ping}}
  Poem: {sentences: ["a poem about {topic}"], action: {llm: "Rhyme about {topic}.", reply: "I know no poem."}}
lists:
  size: {values: [small, large]}
  drink: {values: [coffee, tea]}
  milk: {values: [milk]}
  topic: {wildcard: true}
  n: {range: {from: 1, to: 9}}
"""
    )
    return Device(paths=[path])


def test_custom_reply_takes_turns_and_leaves_out_what_was_not_said(custom: Device) -> None:
    """Wordings rotate; missing slots leave no gap; the event carries the slots."""
    assert custom.reply("one large coffee with milk") == Reply(
        "One large coffee with milk, coming up.",
        event=PublishedEvent("order", {"size": "large", "drink": "coffee", "milk": "milk"}),
    )
    assert custom.ask("one small tea") == "Sure: tea."
    assert custom.ask("one tea") == "One tea, coming up."


def test_custom_switch(custom: Device) -> None:
    """Without a reply of its own the new state is told; a failure is told in place of the reply."""
    custom.outputs.on["lamp"] = True
    assert custom.reply("movie time") == Reply("The lamp is off.", event=PublishedEvent("movie"))
    assert custom.outputs.on == {"lamp": False}
    assert custom.ask("let there be light") == "And there was light."
    assert custom.outputs.on == {"lamp": True}
    custom.outputs.broken.add("lamp")
    assert custom.ask("let there be light") == "I can't switch the lamp: the pin is in use."


def test_custom_event_alone_is_acknowledged(custom: Device) -> None:
    """Only published, something is still said."""
    assert custom.reply("ping 3") == Reply("Okay.", event=PublishedEvent("ping", {"n": 3}))


def test_custom_hand_over(custom: Device) -> None:
    """The model gets the hint with the slots in it; the reply is for when there is no model."""
    assert custom.reply("a poem about the sea") == Reply(
        "I know no poem.", Control.HAND_OVER, hint="Rhyme about the sea."
    )


@pytest.mark.parametrize(
    ("template", "slots", "said"),
    [
        ("One {size} {drink}.", {"size": "big", "drink": "tea"}, "One big tea."),
        ("One {size} {drink}.", {"drink": "tea"}, "One tea."),
        ("One {drink} {size}.", {"drink": "tea"}, "One tea."),
        ("{drink}[ with {milk}]!", {"drink": "tea"}, "tea!"),
        ("{drink}[ with {milk} and {sugar}]!", {"drink": "tea", "milk": "soy"}, "tea!"),
        ("{n} degrees, {m} per cent", {"n": 3.0, "m": 2.5}, "3 degrees, 2.5 per cent"),
        ("{x}", {"x": "{y}[z]"}, "{y}[z]"),
        ("  a   b  ", {}, "a b"),
    ],
)
def test_wording(template: str, slots: dict[str, str | int | float], said: str) -> None:
    """Slots are filled in, optional parts left out, spaces tidied."""
    assert Wording.parse(template).render(slots) == said
