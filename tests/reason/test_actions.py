"""What intents do and answer: timers, volume, outputs, status and the user's own actions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import pytest
from zone_clock import ZoneClock

from edge_agent.errors import DeviceError
from edge_agent.reason.actions import Actor, Control, PublishedEvent, Reply
from edge_agent.reason.alarms import Alarm, AlarmBook
from edge_agent.reason.ask import Ask
from edge_agent.reason.bell import Bell
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.templates import IntentSet, load_intents
from edge_agent.reason.timers import TimerBook
from edge_agent.reason.wording import Wording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.reason.ports import Switch

START = "2026-03-03 10:05"
"""Tuesday, five past ten, UTC."""


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


@cache
def understanding(language: str, paths: tuple[Path, ...], outputs: tuple[str, ...]) -> tuple[IntentSet, IntentMatcher]:
    """Intents and what finds them; neither keeps any state."""
    intents = load_intents(language, builtin=True, paths=paths, outputs=dict.fromkeys(outputs, ()))
    return intents, IntentMatcher(intents.intents, language)


class Device:
    """An actor with everything fake around it, spoken to in sentences."""

    def __init__(self, language: str = "en", paths: Sequence[Path] = (), outputs: Sequence[str] = ("lamp",)) -> None:
        self.intents, self.matcher = understanding(language, tuple(paths), tuple(outputs))
        self.clock = ZoneClock(START)
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
            bell=Bell(self.clock, self.timers, AlarmBook(self.clock, limit=5)),
        )

    def reply(self, sentence: str) -> Reply:
        """What it answers and does."""
        match = self.matcher.match([sentence], forgiving=False)
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
            ("set a timer", "For how long?"),
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
        "en",
        [
            ("what alarms do i have", "No alarm is set."),
            ("cancel the alarm", "No alarm is set."),
            ("set an alarm", "For what time?"),
            ("set an alarm for tomorrow", "For what time?"),
            ("set an alarm for seven", "Alarm set for seven p.m. today."),
            ("wake me up at half past six every weekday", "Alarm set for six thirty a.m. every weekday."),
            ("set a medicine alarm for noon tomorrow", "Medicine alarm set for noon tomorrow."),
            ("set an alarm for nine on monday", "Alarm set for nine a.m. on Monday."),
            ("set an alarm for ten today", "Alarm set for ten p.m. today."),
            ("set an alarm for nine a.m. today", "That time has passed today."),
            ("set an alarm for eight", "I can't keep more than five alarms."),
            ("when is my next alarm", "Your next alarm is set for seven p.m. today."),
            ("when is the medicine alarm", "Your next medicine alarm is set for noon tomorrow."),
            (
                "list my alarms",
                (
                    "You have five alarms: seven p.m. today, ten p.m. today, six thirty a.m. every weekday, "
                    "noon tomorrow for medicine and nine a.m. on Monday."
                ),
            ),
            (
                "cancel the alarm",
                (
                    "You have five alarms: the seven p.m. alarm, the ten p.m. alarm, the six thirty a.m. alarm, "
                    "the medicine alarm and the nine a.m. alarm. Which one do you mean?"
                ),
            ),
            ("cancel the seven o'clock alarm", "I've cancelled the seven p.m. alarm."),
            ("cancel the seven o'clock alarm", "I can't find that alarm."),
            ("cancel the medicine alarm", "I've cancelled the medicine alarm."),
            ("cancel the school alarm", "I can't find that alarm."),
            ("cancel all alarms", "I've cancelled three alarms."),
            ("snooze", "Nothing is ringing."),
        ],
    ),
    (
        "zh",
        [
            ("设一个早上七点的闹钟", "闹钟设好了，明天上午七点整。"),
            ("每天早上六点半叫我起床", "闹钟设好了，每天上午六点三十分。"),
            ("设一个闹钟", "几点？"),
            ("有哪些闹钟", "有两个闹钟：每天上午六点三十分和明天上午七点整。"),
            ("取消七点的闹钟", "上午七点整的闹钟已取消。"),
            ("下一个闹钟是几点", "下一个闹钟是每天上午六点三十分。"),
            ("取消闹钟", "上午六点三十分的闹钟已取消。"),
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
                "我可以报时间和日期、设计时器和闹钟、调节音量，还可以开关台灯。您可以问我：现在几点，或者说：设一个十分钟的计时器。",
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
    device.clock.pass_time(600)
    (timer,) = device.timers.pop_due()
    assert device.actor.announce(timer) == announced


@pytest.mark.parametrize(
    ("said", "asks", "answer", "then"),
    [
        ("set a pasta timer", Ask("SetTimer", {"timer_name": "pasta"}, "duration"), "ten minutes", "Pasta timer set"),
        ("set an alarm for tomorrow", Ask("SetAlarm", {"day": "tomorrow"}, "time"), "at seven", "Alarm set for seven"),
    ],
)
def test_what_is_missing_is_asked_for(device: Device, said: str, asks: Ask, answer: str, then: str) -> None:
    """The reply tells what waits for the answer; with the answer's slots it is complete."""
    reply = device.reply(said)
    assert reply.asks == asks
    match = device.matcher.match([answer], asked=asks.missing)
    assert match is not None
    complete = device.actor.perform(replace(match, intent=asks.intent, slots=asks.answered(match.slots)))
    assert complete.text.startswith(then)
    assert complete.asks is None
    assert device.matcher.match([answer]) is None


def ring(device: Device, *said: str) -> Bell:
    """Set these timers and alarms and let an hour pass."""
    for sentence in said:
        device.ask(sentence)
    device.clock.pass_time(3600)
    device.actor.bell.look()
    return device.actor.bell


def test_what_rings_is_announced_together(device: Device) -> None:
    """In the order of its time; an alarm tells the time that it is."""
    bell = ring(device, "set an alarm for eleven", "set an egg timer for sixty minutes", "set a work alarm for eleven")
    assert device.actor.announce(*bell.ringing) == (
        "It's eleven oh five a.m. This is your alarm. It's eleven oh five a.m. This is your work alarm. "
        "Your one hour egg timer is done."
    )


@pytest.mark.parametrize("said", ["cancel the timer", "stop the egg timer", "turn off the one hour timer"])
def test_what_rings_is_stopped_by_its_name(device: Device, said: str) -> None:
    """Other timers run on, and their names still mean them while something rings."""
    bell = ring(device, "set a tea timer for two hours", "set an egg timer for an hour")
    assert device.ask("cancel the bread timer") == "I can't find the bread timer."
    assert bell.ringing
    assert device.ask(said) == "Okay."
    assert bell.ringing == ()
    assert [timer.name for timer in device.timers.timers] == ["tea"]


def test_the_very_words_that_cut_an_alert_off_mean_what_rang(device: Device) -> None:
    """After them, the next words mean what is in the book."""
    bell = ring(device, "set a tea timer for two hours", "set a timer for an hour")
    bell.stop()
    assert device.ask("cancel the timer") == "Okay."
    bell.utterance_over()
    assert device.ask("cancel the timer") == "I've cancelled the tea timer."


def test_a_daily_alarm_that_rings_is_stopped_not_cancelled(device: Device) -> None:
    """Neither by its time nor without; only all of them means that."""
    for said in ("turn off the alarm", "cancel the eleven o'clock alarm"):
        bell = ring(device, "set an alarm for eleven every day")
        assert any(isinstance(item, Alarm) for item in bell.ringing)
        assert device.ask(said) == "Okay."
        assert (bell.ringing, len(bell.alarms.alarms)) == ((), 1)
        device.clock.pass_time(23 * 3600)
        bell.look()
        bell.stop()
        bell.utterance_over()
    device.clock.pass_time(3600)
    bell.look()
    assert device.ask("cancel all alarms") == "I've cancelled the eleven a.m. alarm."
    assert (bell.ringing, bell.alarms.alarms) == ((), ())


def test_all_timers_with_one_that_rings(device: Device) -> None:
    """What rings falls silent, and the rest goes too."""
    bell = ring(device, "set a timer for an hour", "set a timer for two hours", "set a timer for three hours")
    assert device.ask("cancel all timers") == "I've cancelled two timers."
    assert (bell.ringing, device.timers.timers) == ((), ())
    bell = ring(device, "set a timer for an hour")
    assert device.ask("cancel all timers") == "Okay."


def test_snooze(device: Device) -> None:
    """For the usual time or the one that was said; timers are snoozed too, under their name."""
    bell = ring(device, "set a gym alarm for eleven", "set an egg timer for an hour")
    assert device.ask("snooze") == "Okay, again in five minutes."
    assert not bell.ringing
    device.clock.pass_time(300)
    bell.look()
    assert [item.name for item in bell.ringing] == ["egg", "gym"]
    bell.stop()
    assert device.ask("ten more minutes") == "Okay, again in ten minutes."
    assert device.ask("when is my next alarm") == "Your next gym alarm is set for eleven twenty a.m. today."
    device.clock.pass_time(599)
    assert bell.look() is False
    device.clock.pass_time(1)
    assert bell.look() is True
    bell.stop()
    device.clock.pass_time(121)
    assert device.ask("snooze") == "Nothing is ringing."


def test_what_was_missed_is_told_once(device: Device) -> None:
    """What rang unheard, and what was due while the device was off, each in its words."""
    bell = ring(device, "set an egg timer for an hour", "set an alarm for eleven")
    bell.alarms.restore([Alarm(9, "work", datetime.fromisoformat("2026-03-03 07:00"))])
    device.clock.pass_time(601)
    bell.look()
    assert (
        device.actor.tell_missed()
        == "While I was off, you missed the work alarm. You missed the eleven a.m. alarm and the egg timer."
    )
    assert device.actor.tell_missed() == ""


def test_what_is_left_goes_down(device: Device) -> None:
    """Status follows the clock."""
    device.ask("set a timer for ten minutes")
    device.clock.pass_time(570.5)
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
