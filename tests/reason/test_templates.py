"""The shipped templates, the user's files over them, and what is said about every mistake in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from hassil import recognize_best
from zone_clock import ZoneClock

from edge_agent.errors import ConfigError, IntentsFileError
from edge_agent.reason.actions import Actor
from edge_agent.reason.ask import ANSWERS
from edge_agent.reason.templates import IntentSet, languages, load_intents
from edge_agent.reason.timers import TimerBook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTPUTS = {"lamp": ("light",), "desk_fan": ()}
ZH_OUTPUTS = {"台灯": ("灯",), "风扇": ()}

Slots = dict[str, str | int | float]


@pytest.fixture(scope="module")
def english() -> IntentSet:
    """The shipped English intents with two outputs."""
    return load_intents("en", builtin=True, paths=[], outputs=OUTPUTS)


@pytest.fixture(scope="module")
def chinese() -> IntentSet:
    """The shipped Chinese intents with two outputs."""
    return load_intents("zh", builtin=True, paths=[], outputs=ZH_OUTPUTS)


def understood(intents: IntentSet, text: str) -> tuple[str, Slots] | None:
    """The intent and slots of a text."""
    result = recognize_best(text, intents.intents)
    if result is None:
        return None
    return result.intent.name, {name: entity.value for name, entity in result.entities.items()}


ENGLISH: list[tuple[str, str, Slots]] = [
    ("set an alarm for seven", "SetAlarm", {"hour": 7}),
    ("Set an alarm for 7:05 a.m.", "SetAlarm", {"hour": 7, "minute": 5, "half": "am"}),
    (
        "set an alarm for seven thirty in the morning tomorrow",
        "SetAlarm",
        {"hour": 7, "minute": 30, "half": "am", "day": "tomorrow"},
    ),
    ("set a gym alarm for six at weekends", "SetAlarm", {"alarm_name": "gym", "hour": 6, "every": "weekend"}),
    (
        "wake me up at a quarter to seven on monday",
        "SetAlarm",
        {"minute": 15, "before": "hour", "hour": 7, "day": "monday"},
    ),
    (
        "wake me at half past six every monday and friday",
        "SetAlarm",
        {"minute": 30, "hour": 6, "every": "monday", "every_2": "friday"},
    ),
    ("set a seven o'clock alarm", "SetAlarm", {"hour": 7}),
    ("wake me up", "SetAlarm", {}),
    ("wake me up in twenty minutes", "SetTimer", {"minutes": 20}),
    ("what alarms do i have", "AlarmStatus", {}),
    ("when is my next alarm", "AlarmStatus", {"scope": "next"}),
    ("cancel the seven thirty alarm", "CancelAlarm", {"hour": 7, "minute": 30}),
    ("turn off the alarm", "CancelAlarm", {}),
    ("cancel all alarms", "CancelAlarm", {"scope": "all"}),
    ("snooze for five minutes", "Snooze", {"minutes": 5}),
    ("five more minutes", "Snooze", {"minutes": 5}),
    ("what time is it", "GetTime", {}),
    ("What time is it?", "GetTime", {}),
    ("what time is it right now", "GetTime", {}),
    ("what's the time", "GetTime", {}),
    ("what’s the time?", "GetTime", {}),
    ("what is the time now", "GetTime", {}),
    ("tell me the time", "GetTime", {}),
    ("give me the current time please", "GetTime", {}),
    ("do you have the time", "GetTime", {}),
    ("what's the date today", "GetDate", {}),
    ("what is the date", "GetDate", {}),
    ("what's today's date", "GetDate", {}),
    ("what day is it", "GetDate", {}),
    ("what day of the week is it", "GetDate", {}),
    ("tell me the date", "GetDate", {}),
    ("set a timer for ten minutes", "SetTimer", {"minutes": 10}),
    ("Set a timer for 10 minutes.", "SetTimer", {"minutes": 10}),
    ("set a 10-minute timer", "SetTimer", {"minutes": 10}),
    ("please set a timer for twenty five minutes", "SetTimer", {"minutes": 25}),
    ("set a timer for twenty-five minutes", "SetTimer", {"minutes": 25}),
    ("ten minute timer", "SetTimer", {"minutes": 10}),
    ("set a timer for a minute", "SetTimer", {"minutes": 1}),
    ("set a timer for an hour", "SetTimer", {"hours": 1}),
    ("set a timer for half an hour", "SetTimer", {"minutes": 30}),
    ("start a half hour timer", "SetTimer", {"minutes": 30}),
    ("set a timer for a minute and a half", "SetTimer", {"minutes": 1, "seconds": 30}),
    ("two and a half minute timer", "SetTimer", {"minutes": 2, "seconds": 30}),
    ("an hour and a half timer", "SetTimer", {"hours": 1, "minutes": 30}),
    ("set a timer for two and a half hours", "SetTimer", {"hours": 2, "minutes": 30}),
    ("timer for one hour and thirty minutes", "SetTimer", {"hours": 1, "minutes": 30}),
    ("set a timer for 1 hour 30 minutes", "SetTimer", {"hours": 1, "minutes": 30}),
    ("set a timer for two minutes and thirty seconds", "SetTimer", {"minutes": 2, "seconds": 30}),
    ("start a timer for ninety seconds", "SetTimer", {"seconds": 90}),
    ("set a timer for a quarter of an hour", "SetTimer", {"minutes": 15}),
    ("set a timer for a couple of minutes", "SetTimer", {"minutes": 2}),
    ("a ten minute pasta timer", "SetTimer", {"minutes": 10, "timer_name": "pasta"}),
    ("timer for 5 minutes called eggs", "SetTimer", {"minutes": 5, "timer_name": "egg"}),
    ("set a pasta timer for ten minutes", "SetTimer", {"minutes": 10, "timer_name": "pasta"}),
    ("set a timer for the pizza for twelve minutes", "SetTimer", {"minutes": 12, "timer_name": "pizza"}),
    ("set a timer for five minutes called grandma's cake", "SetTimer", {"minutes": 5, "timer_name": "grandma's cake"}),
    ("remind me in five minutes", "SetTimer", {"minutes": 5}),
    ("count down from thirty seconds", "SetTimer", {"seconds": 30}),
    ("set a timer for three hundred minutes", "SetTimer", {"minutes": 300}),
    ("set a timer", "SetTimer", {}),
    ("cancel the timer", "CancelTimer", {}),
    ("stop the pasta timer", "CancelTimer", {"timer_name": "pasta"}),
    ("cancel the ten minute timer", "CancelTimer", {"minutes": 10}),
    ("cancel the timer called grandma's cake", "CancelTimer", {"timer_name": "grandma's cake"}),
    ("cancel all timers", "CancelTimer", {"scope": "all"}),
    ("delete all my timers", "CancelTimer", {"scope": "all"}),
    ("cancel both timers", "CancelTimer", {"scope": "all"}),
    ("pause the timer", "PauseTimer", {}),
    ("pause the egg timer", "PauseTimer", {"timer_name": "egg"}),
    ("pause all timers", "PauseTimer", {"scope": "all"}),
    ("resume the timer", "ResumeTimer", {}),
    ("continue the pasta timer", "ResumeTimer", {"timer_name": "pasta"}),
    ("resume all timers", "ResumeTimer", {"scope": "all"}),
    ("how long is left on the pasta timer", "TimerStatus", {"timer_name": "pasta"}),
    ("how much time is left on the timer", "TimerStatus", {}),
    ("how much time do i have left", "TimerStatus", {}),
    ("how long is left on the ten minute timer", "TimerStatus", {"minutes": 10}),
    ("how much longer", "TimerStatus", {}),
    ("check my timers", "TimerStatus", {}),
    ("which timers are running", "TimerStatus", {}),
    ("when will the pasta timer go off", "TimerStatus", {"timer_name": "pasta"}),
    ("volume 50 percent", "SetVolume", {"volume": 50}),
    ("volume 50%", "SetVolume", {"volume": 50}),
    ("set the volume to fifty", "SetVolume", {"volume": 50}),
    ("turn the volume down to twenty percent", "SetVolume", {"volume": 20}),
    ("maximum volume", "SetVolume", {"volume": 100}),
    ("set the volume to max", "SetVolume", {"volume": 100}),
    ("volume up", "VolumeUp", {}),
    ("turn it up", "VolumeUp", {}),
    ("louder please", "VolumeUp", {}),
    ("increase the volume by twenty percent", "VolumeUp", {"step": 20}),
    ("volume down", "VolumeDown", {}),
    ("turn it down a bit", "VolumeDown", {}),
    ("speak more quietly", "VolumeDown", {}),
    ("mute", "Mute", {}),
    ("turn the sound off", "Mute", {}),
    ("unmute", "Unmute", {}),
    ("turn the sound back on", "Unmute", {}),
    ("stop", "Stop", {}),
    ("be quiet", "Stop", {}),
    ("never mind", "NeverMind", {}),
    ("cancel", "NeverMind", {}),
    ("forget it", "NeverMind", {}),
    ("say that again", "Repeat", {}),
    ("could you repeat that please", "Repeat", {}),
    ("what did you say", "Repeat", {}),
    ("how are you", "DeviceStatus", {}),
    ("status", "DeviceStatus", {}),
    ("how hot are you", "DeviceStatus", {"aspect": "temperature"}),
    ("how long have you been running", "DeviceStatus", {"aspect": "uptime"}),
    ("how much memory is free", "DeviceStatus", {"aspect": "memory"}),
    ("turn on the lamp", "SwitchOutput", {"output": "lamp", "switch": "on"}),
    ("switch the lamp off", "SwitchOutput", {"output": "lamp", "switch": "off"}),
    ("lamp on", "SwitchOutput", {"output": "lamp", "switch": "on"}),
    ("turn off the light", "SwitchOutput", {"output": "lamp", "switch": "off"}),
    ("toggle the lamp", "SwitchOutput", {"output": "lamp", "switch": "toggle"}),
    ("could you turn on the desk fan please", "SwitchOutput", {"output": "desk_fan", "switch": "on"}),
    ("what can you do", "Help", {}),
    ("help", "Help", {}),
]

CHINESE: list[tuple[str, str, Slots]] = [
    ("设一个早上七点的闹钟", "SetAlarm", {"half": "am", "hour": 7}),
    ("明天早上七点半叫我起床", "SetAlarm", {"day": "tomorrow", "half": "am", "hour": 7, "minute": 30}),
    ("每周一和周三早上七点的闹钟", "SetAlarm", {"every": "monday", "every_2": "wednesday", "half": "am", "hour": 7}),
    ("设一个7:30的闹钟", "SetAlarm", {"hour": 7, "minute": 30}),
    ("晚上十点零五分的吃药闹钟", "SetAlarm", {"half": "night", "hour": 10, "minute": 5, "alarm_name": "吃药"}),
    ("设一个十分钟的闹钟", "SetTimer", {"minutes": 10}),
    ("取消七点的闹钟", "CancelAlarm", {"hour": 7}),
    ("取消所有闹钟", "CancelAlarm", {"scope": "all"}),
    ("有哪些闹钟", "AlarmStatus", {}),
    ("下一个闹钟是几点", "AlarmStatus", {"scope": "next"}),
    ("再睡五分钟", "Snooze", {"minutes": 5}),
    ("贪睡", "Snooze", {}),
    ("现在几点了", "GetTime", {}),
    ("几点了？", "GetTime", {}),
    ("请问现在几点", "GetTime", {}),
    ("现在时间是多少", "GetTime", {}),
    ("告诉我现在的时间", "GetTime", {}),
    ("报时", "GetTime", {}),
    ("今天几号", "GetDate", {}),
    ("今天是几月几号", "GetDate", {}),
    ("今天星期几？", "GetDate", {}),
    ("今天是什么日子", "GetDate", {}),
    ("设一个十分钟的计时器", "SetTimer", {"minutes": 10}),
    ("设置一个10分钟的计时器", "SetTimer", {"minutes": 10}),
    ("设置一个 10 分钟的计时器", "SetTimer", {"minutes": 10}),
    ("请帮我设一个十五分钟的定时器", "SetTimer", {"minutes": 15}),
    ("定时十五分钟", "SetTimer", {"minutes": 15}),
    ("倒计时半小时", "SetTimer", {"minutes": 30}),
    ("定个半小时的闹钟", "SetTimer", {"minutes": 30}),
    ("定一个半小时的闹钟", "SetTimer", {"hours": 1, "minutes": 30}),
    ("两个半小时的计时器", "SetTimer", {"hours": 2, "minutes": 30}),
    ("设一个两小时三十分钟的计时器", "SetTimer", {"hours": 2, "minutes": 30}),
    ("设一个一小时零五分钟的计时器", "SetTimer", {"hours": 1, "minutes": 5}),
    ("设一个一分半钟的计时器", "SetTimer", {"minutes": 1, "seconds": 30}),
    ("三分二十秒的计时器", "SetTimer", {"minutes": 3, "seconds": 20}),
    ("九十秒计时", "SetTimer", {"seconds": 90}),
    ("一刻钟后提醒我", "SetTimer", {"minutes": 15}),
    ("五分钟以后叫我", "SetTimer", {"minutes": 5}),
    ("计时器三分钟", "SetTimer", {"minutes": 3}),
    ("二十五分钟的面条计时器", "SetTimer", {"minutes": 25, "timer_name": "面条"}),
    ("设一个五分钟的计时器叫鸡蛋", "SetTimer", {"minutes": 5, "timer_name": "鸡蛋"}),
    ("设一个计时器", "SetTimer", {}),
    ("取消计时器", "CancelTimer", {}),
    ("取消面条计时器", "CancelTimer", {"timer_name": "面条"}),
    ("把面条计时器取消掉", "CancelTimer", {"timer_name": "面条"}),
    ("取消十分钟的计时器", "CancelTimer", {"minutes": 10}),
    ("取消所有计时器", "CancelTimer", {"scope": "all"}),
    ("暂停计时器", "PauseTimer", {}),
    ("暂停面条的计时器", "PauseTimer", {"timer_name": "面条"}),
    ("继续计时器", "ResumeTimer", {}),
    ("继续面条计时器", "ResumeTimer", {"timer_name": "面条"}),
    ("计时器还剩多久", "TimerStatus", {}),
    ("面条计时器还有多长时间", "TimerStatus", {"timer_name": "面条"}),
    ("还剩多少时间", "TimerStatus", {}),
    ("有哪些计时器", "TimerStatus", {}),
    ("音量调到百分之五十", "SetVolume", {"volume": 50}),
    ("音量50%", "SetVolume", {"volume": 50}),
    ("把音量调到 30", "SetVolume", {"volume": 30}),
    ("音量最大", "SetVolume", {"volume": 100}),
    ("声音大一点", "VolumeUp", {}),
    ("大声点", "VolumeUp", {}),
    ("音量调小一点", "VolumeDown", {}),
    ("小声一点", "VolumeDown", {}),
    ("静音", "Mute", {}),
    ("取消静音", "Unmute", {}),
    ("停", "Stop", {}),
    ("别说了", "Stop", {}),
    ("算了", "NeverMind", {}),
    ("再说一遍", "Repeat", {}),
    ("你刚才说什么", "Repeat", {}),
    ("你好吗", "DeviceStatus", {}),
    ("系统状态", "DeviceStatus", {}),
    ("温度是多少", "DeviceStatus", {"aspect": "temperature"}),
    ("你运行了多久", "DeviceStatus", {"aspect": "uptime"}),
    ("还剩多少内存", "DeviceStatus", {"aspect": "memory"}),
    ("打开台灯", "SwitchOutput", {"output": "台灯", "switch": "on"}),
    ("把台灯关掉", "SwitchOutput", {"output": "台灯", "switch": "off"}),
    ("请关灯", "SwitchOutput", {"output": "台灯", "switch": "off"}),
    ("把灯打开", "SwitchOutput", {"output": "台灯", "switch": "on"}),
    ("切换风扇", "SwitchOutput", {"output": "风扇", "switch": "toggle"}),
    ("你能做什么", "Help", {}),
    ("你会什么", "Help", {}),
]

CHAT = [
    "tell me a story about the sea",
    "what is the capital of france",
    "play the beatles",
    "this is a test",
    "porcupine",
    "what is the volume of a sphere",
    "how do timers work",
    "turn on the radio",
    "stop the war",
    "what time is it in london",
    "the lamp",
    "set a timer for zero minutes",
    "set a timer for ten bananas",
    "volume one hundred and ten percent",
    "",
    "   ",
    "?",
]
ZH_CHAT = ["给我讲一个关于大海的故事", "法国的首都是哪里", "明天会下雨吗", "打开收音机", "球的体积是多少", "十分钟"]


@pytest.mark.parametrize(("text", "intent", "slots"), ENGLISH)
def test_english_sentence_is_understood(english: IntentSet, text: str, intent: str, slots: Slots) -> None:
    """Each sentence gives its intent with exactly its slots."""
    assert understood(english, text) == (intent, slots)


@pytest.mark.parametrize(("text", "intent", "slots"), CHINESE)
def test_chinese_sentence_is_understood(chinese: IntentSet, text: str, intent: str, slots: Slots) -> None:
    """Each sentence gives its intent with exactly its slots."""
    assert understood(chinese, text) == (intent, slots)


@pytest.mark.parametrize("text", CHAT)
def test_english_chat_is_nobodys_intent(english: IntentSet, text: str) -> None:
    """What is no command stays for the language model."""
    assert understood(english, text) is None


@pytest.mark.parametrize("text", ZH_CHAT)
def test_chinese_chat_is_nobodys_intent(chinese: IntentSet, text: str) -> None:
    """What is no command stays for the language model."""
    assert understood(chinese, text) is None


def test_recorded_home_commands_are_understood(english: IntentSet, speech_dir: Path) -> None:
    """The transcripts of the recorded commands that we serve match, and the others don't."""
    manifest = json.loads((speech_dir / "manifest.json").read_text(encoding="utf-8"))
    texts = [entry["text"] for entry in manifest if entry["file"].startswith("home/")]
    intents = {text: (match := understood(english, text)) and match[0] for text in texts}
    assert intents == {
        "what time is it": "GetTime",
        "what's the date today": "GetDate",
        "set a timer for ten minutes": "SetTimer",
        "turn on the lamp": "SwitchOutput",
        "play the beatles": None,
        "porcupine": None,
        "this is a test": None,
    }


@pytest.mark.parametrize("language", languages())
def test_every_language_ships_the_same_intents(language: str, english: IntentSet) -> None:
    """A language is complete: the same intents and the same responses as English."""
    loaded = load_intents(language, builtin=True, paths=[], outputs=OUTPUTS)
    assert loaded.intents.intents.keys() == english.intents.intents.keys()
    assert loaded.responses.keys() == english.responses.keys()


def test_without_outputs_nothing_can_be_switched() -> None:
    """No output configured: the intent is gone from the templates, the others remain."""
    loaded = load_intents("en", builtin=True, paths=[], outputs={})
    assert "SwitchOutput" not in loaded.intents.intents
    assert understood(loaded, "turn on the lamp") is None
    assert understood(loaded, "what time is it") == ("GetTime", {})


def test_without_builtins_only_the_users_intents_are_there(write: Callable[..., Path]) -> None:
    """builtin=False leaves the user's intents and the responses that actions need."""
    path = write("intents: {Coffee: {sentences: [coffee please], action: {reply: Coming}}}")
    loaded = load_intents("en", builtin=False, paths=[path], outputs={})
    assert list(loaded.intents.intents) == ["Coffee"]
    assert loaded.responses.keys() >= {"done", "output_on"}


def test_a_language_without_templates_needs_the_users_own(write: Callable[..., Path]) -> None:
    """An unknown language is refused with the known ones named; without built-ins it works."""
    with pytest.raises(ConfigError, match=r"language: no intents in 'de' come with edge_agent, only in en, zh;"):
        load_intents("de", builtin=True, paths=[], outputs={})
    path = write("language: de\nintents: {Kaffee: {sentences: ['[einen] Kaffee'], action: {reply: Kommt}}}")
    loaded = load_intents("de", builtin=False, paths=[path], outputs={})
    assert understood(loaded, "einen Kaffee") == ("Kaffee", {})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write an intents file and return its path."""

    def write_file(text: str | bytes, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


CUSTOM = """
intents:
  OrderDrink:
    sentences:
      - "<want> [a] {size} {drink} [with {milk}]"
      - "<want> [a] {drink}"
    action:
      reply: ["One {size} {drink}[ with {milk}], coming up.", "A {size} {drink} it is."]
      gpio: {output: light, switch: on}
      publish: order
  Poem:
    data:
      - sentences: ["a poem about {topic}"]
      - sentences: [a sea poem]
        slots: {topic: the sea}
    action:
      llm: "Answer with a short poem about {topic}."
lists:
  size: {values: [small, {in: "(large|big)", out: large}]}
  drink: {values: [coffee, tea, "[hot] chocolate"]}
  milk: {values: [milk, oat milk]}
  topic: {wildcard: true}
expansion_rules:
  want: "(i want|give me|i'd like)"
"""


def test_a_users_file_adds_intents_lists_rules_and_actions(write: Callable[..., Path]) -> None:
    """The user's intents stand beside the shipped ones, with their actions checked and resolved."""
    loaded = load_intents("en", builtin=True, paths=[write(CUSTOM)], outputs=OUTPUTS)
    assert understood(loaded, "I'd like a big coffee with oat milk") == (
        "OrderDrink",
        {"size": "large", "drink": "coffee", "milk": "oat milk"},
    )
    assert understood(loaded, "give me a tea") == ("OrderDrink", {"drink": "tea"})
    assert understood(loaded, "a sea poem") == ("Poem", {"topic": "the sea"})
    assert understood(loaded, "what time is it") == ("GetTime", {})
    action = loaded.actions["OrderDrink"]
    assert (action.gpio and (action.gpio.output, action.gpio.switch)) == ("lamp", "on")
    assert action.event == "order"
    assert len(action.replies) == 2
    assert loaded.actions.keys() == {"OrderDrink", "Poem"}


def test_a_builtin_intent_can_be_extended_and_replaced(write: Callable[..., Path]) -> None:
    """Without an action sentences are added to a shipped intent; with one it is replaced. Lists grow."""
    path = write(
        "intents:\n"
        "  SetTimer: {sentences: [tea time], slots: {minutes: 4, timer_name: tea}}\n"
        "  Help: {sentences: [assist me], action: {reply: No}}\n"
        "lists: {timer_name: {values: [sourdough]}}\n"
        "responses: {time: ['Time: {time}']}\n"
    )
    loaded = load_intents("en", builtin=True, paths=[path], outputs={})
    assert understood(loaded, "tea time") == ("SetTimer", {"minutes": 4, "timer_name": "tea"})
    assert understood(loaded, "set a timer for ten minutes") == ("SetTimer", {"minutes": 10})
    assert understood(loaded, "a ten minute sourdough timer") == (
        "SetTimer",
        {"minutes": 10, "timer_name": "sourdough"},
    )
    assert understood(loaded, "what can you do") is None
    assert understood(loaded, "assist me") == ("Help", {})
    assert loaded.responses["time"][0].text == "Time: {time}"


def test_directories_are_read_in_order_and_other_languages_skipped(
    write: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a directory all YAML files count, but those of another language, which is logged."""
    intent = "intents: {%s: {sentences: ['%s'], action: {reply: Ok}}}"
    write(intent % ("One", "one thing"), "b.yaml")
    write(intent % ("Two", "two things"), "a.yml")
    write("language: zh\n" + intent % ("Drei", "三"), "zh.yaml")
    write("not yaml: [", "notes.txt")
    with caplog.at_level("INFO"):
        loaded = load_intents("en", builtin=False, paths=[tmp_path, tmp_path / "a.yml"], outputs={})
    assert list(loaded.intents.intents) == ["Two", "One"]
    assert "zh.yaml is in zh, not en: skipped" in caplog.text


def test_words_that_yaml_takes_for_something_else_stay_words(write: Callable[..., Path]) -> None:
    """`on`, `yes` and 12:30 are what they look like; numbers are numbers."""
    path = write(
        "intents: {A: {sentences: ['say {x}'], action: {reply: 'It is {x}'}}}\n"
        "lists: {x: {values: [on, yes, 12:30, 7]}}"
    )
    loaded = load_intents("en", builtin=False, paths=[path], outputs={})
    assert understood(loaded, "say on") == ("A", {"x": "on"})
    assert understood(loaded, "say yes") == ("A", {"x": "yes"})
    assert understood(loaded, "say 7") == ("A", {"x": 7})


def intent(action: str = "{reply: Ok}", sentence: str = "hello {x}") -> str:
    """A file with one intent."""
    return f"lists: {{x: {{values: [a, b]}}}}\nintents:\n  Mine:\n    sentences: ['{sentence}']\n    action: {action}\n"


BAD = [
    ("intents: [", "is not valid YAML: did not find"),
    ("", "holds no keys"),
    ("- a\n- b", "holds no keys"),
    ("intents: {}\nintents: {}", "line 2: the key 'intents' occurs twice (first on line 1)"),
    ("intent: {}", 'line 1: intent: unknown key; did you mean "intents"?'),
    ("intents: [a]", "line 1: intents: must be a mapping of names to values"),
    ("intents: {Mine: {sentences: []}}", "intents.Mine: has no sentences"),
    ("intents: {Mine: {sentences: [hi]}}", "intents.Mine: has no `action:`"),
    ("intents: {SetTimmer: {sentences: [hi]}}", 'did you mean "SetTimer"?'),
    ("intents: {'my intent': {sentences: [hi], action: {reply: Ok}}}", "a name is made of letters, digits and _"),
    (intent("{}"), "line 5: intents.Mine.action: does nothing; give it reply, gpio, publish or llm"),
    (intent("{replay: Ok}"), 'line 5: intents.Mine.action.replay: unknown key; did you mean "reply"?'),
    (intent("{shell: rm}"), "intents.Mine.action.shell: unknown key; there are: reply, gpio, publish, llm"),
    (intent("{reply: 'A {y}'}"), "'A {y}': the sentences can't fill {y} (there are: x)"),
    (intent("{reply: 'A {x'}"), "'A {x': '{' is not closed"),
    (intent("{reply: 'A x}'}"), "'}' without '{'"),
    (intent("{reply: 'A [x {x}'}"), "'[' is not closed"),
    (intent("{reply: 'A x]'}"), "']' without '['"),
    (intent("{reply: 'A [[{x}]]'}"), "'[' inside '[...]'"),
    (intent("{reply: 'A [x]'}"), "holds no {slot}"),
    (intent("{reply: 'A {1x}'}"), "{1x} is no slot name"),
    (intent("{llm: 'About {y}'}"), "intents.Mine.action.llm: 'About {y}': the sentences can't fill {y}"),
    (intent("{gpio: {output: lampp, switch: on}}"), "no output 'lampp' in gpio.outputs of the config"),
    (intent("{gpio: {output: lampp, switch: on}}"), 'did you mean "lamp"?'),
    (intent("{gpio: {output: lamp, switch: up}}"), "intents.Mine.action.gpio.switch: must be 'on', 'off' or 'toggle'"),
    (intent("{gpio: {output: lamp}}"), "intents.Mine.action.gpio.switch: is missing"),
    (intent("{publish: My-Event}"), "'My-Event' must be made of a-z, 0-9 and _"),
    (intent("{publish: {event: a, topic: b}}"), "intents.Mine.action.publish.topic: unknown key"),
    (intent(sentence="hello {y}"), "line 4: intents.Mine.sentences[1]: 'hello {y}': there is no list {y}"),
    (intent(sentence="hello {timer_nam}"), 'there is no list {timer_nam}; did you mean "timer_name"?'),
    (intent(sentence="hello <artcle>"), "there is no rule <artcle>"),
    (intent(sentence="hello <durations>"), 'there is no rule <durations>; did you mean "duration"?'),
    (intent(sentence="hello (a|b"), "'(' at character 7 is not closed"),
    (intent(sentence="hello a]"), "']' closes nothing"),
    (intent(sentence="hello (a]"), "']' closes nothing"),
    (intent(sentence="hello {}"), "'{}' is empty"),
    (intent(sentence="hello ()"), "'()' is empty"),
    (intent(sentence="hello (a|)"), "an alternative is empty"),
    (intent(sentence="hello {a b}"), "{a b} is no list name"),
    (intent(sentence="hello {0..9:n}"), "{0..9:n} is no list name"),
    (intent(sentence="hello <a b>"), "<a b> is no rule name"),
    (intent(sentence="hello {a{b}}"), "'{' inside '{...'"),
    (intent(sentence="hello \\"), "ends with a lone backslash"),
    (intent(sentence="[hello]"), "every part is optional, so it would match silence"),
    (intent(sentence=""), "is empty"),
    ("expansion_rules: {a: 'x <b>', b: '[<a>]'}", "the rules refer to each other for ever: <a> -> <b> -> <a>"),
    ("expansion_rules: {a: 'x <c>'}", "expansion_rules.a: 'x <c>': there is no rule <c>"),
    ("expansion_rules: {a: '(x'}", "expansion_rules.a: '(x': '(' at character 1 is not closed"),
    ("expansion_rules: {duration: x}", "the rule <duration> is already defined in built-in en.yaml"),
    ("lists: {a: {}}", "lists.a: needs exactly one of values, range or `wildcard: true`"),
    ("lists: {a: {values: [x], wildcard: true}}", "lists.a: needs exactly one of"),
    ("lists: {a: {range: {from: 5, to: 1}}}", "lists.a.range: `from` is greater than `to`"),
    ("lists: {a: {range: {from: 0, to: 99999}}}", "lists.a.range: holds more than 10000 numbers"),
    ("lists: {a: {range: {from: x, to: 1}}}", "lists.a.range.from"),
    ("lists: {a: {values: ['']}}", "lists.a.values[1]"),
    ("lists: {a: {values: [ok, '[x]']}}", "lists.a.values[2]: is empty or has only optional parts"),
    ("lists: {a: {values: ['x {b}']}, b: {values: [y]}}", "lists.a.values[1]: a list's value can't refer to a list"),
    ("lists: {a: {values: [{in: x, outt: y}]}}", 'lists.a.values[1].outt: unknown key; did you mean "out"?'),
    ("lists: {a: {values: [[x]]}}", "must be text or a number"),
    ("lists: {output: {values: [x]}}", "{output} is made of the configuration's gpio.outputs"),
    ("lists: {minutes: {values: [x]}}", "only a list of values can be added to"),
    ("responses: {tiem: [x]}", 'there is no such response; did you mean "time"?'),
    ("responses: {time: ['{date}']}", "this response can't fill {date} (there are: time)"),
    ("intents: {SwitchOutput: {sentences: [x], slots: {switch: up}}}", "must be off or on or toggle, not 'up'"),
    ("intents: {SetTimer: {sentences: [x], slots: {minutes: four}}}", "must be a number, not 'four'"),
    ("intents: {SetTimer: {data: [{sentences: [x]}], slots: {minutes: 4}}}", "put it into the block under `data:`"),
    ("a: &a [*a]", "too large or too deep"),
    ("a: " + "[" * 5000, "is nested too deeply"),
    ("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(5)
    ), "with its aliases (`*name`) expanded"),
    ("a: !!python/object:os.system x", "has no meaning here"),
    ("? [a]\n: b", "a key must be a single word"),
    (b"intents: {}\n# \xff\xfe", "line 2: is not UTF-8 text"),
    (b"#" * 1_000_001, "is larger than 1000 kB"),
    (b"\x00", "is not valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_mistake_gets_one_clear_line(write: Callable[..., Path], text: str | bytes, message: str) -> None:
    """Whatever is wrong with a file, the error is one line that names the file, the place and the remedy."""
    path = write(text)
    with pytest.raises(IntentsFileError) as caught:
        load_intents("en", builtin=True, paths=[path], outputs=OUTPUTS)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_sentence_with_output_needs_one_configured(write: Callable[..., Path]) -> None:
    """A user's sentence over {output} is refused where no output is configured."""
    path = write(intent(sentence="hello {output}"))
    with pytest.raises(IntentsFileError, match=r"there is no \{output\}, as gpio.outputs in the config is empty"):
        load_intents("en", builtin=True, paths=[path], outputs={})


def test_two_files_must_not_define_the_same_intent(write: Callable[..., Path]) -> None:
    """The second one is refused, and the first one named."""
    first, second = write(intent(), "a.yaml"), write(intent().replace("x:", "y:").replace("{x}", "{y}"), "b.yaml")
    with pytest.raises(IntentsFileError, match=rf"b\.yaml: line 3: intents\.Mine: .*already defined in {first}"):
        load_intents("en", builtin=True, paths=[first, second], outputs={})


def test_sentences_added_by_one_file_are_not_replaced_by_another(write: Callable[..., Path]) -> None:
    """Replacing a built-in intent that another file adds to is refused."""
    first = write("intents: {Help: {sentences: [assist me]}}", "a.yaml")
    second = write("intents: {Help: {sentences: [hi], action: {reply: No}}}", "b.yaml")
    with pytest.raises(IntentsFileError, match="would replace the sentences added in"):
        load_intents("en", builtin=True, paths=[first, second], outputs={})


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    """A path that does not exist is an error that points to the setting."""
    with pytest.raises(
        IntentsFileError, match=r"nowhere\.yaml: there is no such file or directory; mend intents.paths"
    ):
        load_intents("en", builtin=True, paths=[tmp_path / "nowhere.yaml"], outputs={})


def test_outputs_must_not_share_a_name() -> None:
    """An alias that is another output's name is refused."""
    with pytest.raises(ConfigError, match=r"gpio\.outputs\.heater: 'light' is also a name of 'lamp'"):
        load_intents("en", builtin=True, paths=[], outputs={"lamp": ["light"], "heater": ["light"]})


def test_every_shipped_intent_can_be_performed(english: IntentSet) -> None:
    """The actor knows each intent that has no action, but for the answers, which complete another."""
    clock = ZoneClock("2026-03-03 10:05")
    nothing = cast("Any", object())
    actor = Actor(english, clock=clock, outputs=nothing, volume=nothing, status=nothing, timers=TimerBook(clock))
    assert english.intents.intents.keys() == actor.builtin_intents | ANSWERS
