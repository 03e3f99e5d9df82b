"""Commands run once, are answered where it was asked for, and are refused with a reason."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from controls_double import ControlsDouble
from doubles import until
from link_double import LinkDouble

from edge_agent.errors import BusyError, DeviceError, StoreError
from edge_agent.mqtt.command_memory import CommandMemory
from edge_agent.mqtt.commands import Commands
from edge_agent.mqtt.controls import CommandError
from edge_agent.mqtt.link import Incoming
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Pool
from edge_agent.store.commands import CommandStore
from edge_agent.store.database import Database

TOPICS = Topics("kitchen")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Rig:
    """Commands between a link and controls that only note."""

    store: CommandStore | None = None
    per_minute: int = 6000
    link: LinkDouble = field(default_factory=LinkDouble)
    controls: ControlsDouble = field(default_factory=ControlsDouble)
    faults: list[str] = field(default_factory=list)
    now: datetime = NOON
    now_s: float = 0.0

    def __post_init__(self) -> None:
        memory = CommandMemory(self.store, self.faults.append, lambda: self.now)
        self.commands = Commands(
            self.link,
            TOPICS,
            self.controls,
            memory,
            Metrics(lambda: self.now_s),
            per_minute=self.per_minute,
            now=lambda: self.now,
        )

    def send(
        self,
        name: str,
        command_id: str = "a",
        args: dict[str, Any] | None = None,
        *,
        is_retained: bool = False,
        response_topic: str | None = None,
        correlation_data: bytes | None = None,
        sender: str = "",
        **more: object,
    ) -> None:
        """Let a command arrive."""
        payload = json.dumps({"id": command_id, "args": args or {}, **more}).encode()
        properties = (("sender", sender),) if sender else ()
        self.commands.receive(
            Incoming(TOPICS.command(name), payload, 1, is_retained, response_topic, correlation_data, properties)
        )

    async def result(self, name: str = "say", number: int = 0, topic: str = "") -> dict[str, Any]:
        """The result that was published, once it was."""
        found = self.results(name, topic)
        await until(lambda: len(found()) > number)
        return found()[number]

    def results(self, name: str, topic: str = "") -> Callable[[], list[dict[str, Any]]]:
        """All results so far."""
        return lambda: [message.data for message in self.link.at(topic or TOPICS.result(name))]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Carry commands out."""
        running = asyncio.create_task(self.commands.run_loop(), name="commands")
        try:
            yield
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.mark.parametrize(
    ("name", "args", "call"),
    [
        ("say", {"text": "hello"}, ("say", "hello")),
        ("ask", {"text": "what time is it"}, ("ask", "what time is it")),
        ("listen", {}, ("listen", None)),
        ("stop", {}, ("stop", None)),
        ("mute", {}, ("mute", True)),
        ("mute", {"muted": False}, ("mute", False)),
        ("unmute", {}, ("mute", False)),
        ("volume", {"percent": 0}, ("volume", 0)),
        ("timer", {"action": "set", "seconds": 60, "name": "tea"}, ("set_timer", (60.0, "tea"))),
        ("timer", {"action": "cancel", "name": "tea"}, ("cancel_timers", ("tea", None, False))),
        ("timer", {"action": "list"}, ("list_timers", None)),
        ("restart", {}, ("check_restart", None)),
        ("pull_model", {"name": "m"}, ("pull_model", "m")),
    ],
)
async def test_each_command_reaches_its_control(name: str, args: dict[str, Any], call: tuple[str, object]) -> None:
    """And its result has the id, and what the control returned."""
    rig = Rig()
    async with rig.running():
        rig.send(name, "x-1", args)
        result = await rig.result(name)
    assert rig.controls.calls == [call]
    assert (result["id"], result["ok"], result["error"]) == ("x-1", True, None)
    assert isinstance(result["data"], dict)


async def test_the_result_goes_to_the_response_topic_alone() -> None:
    """With its correlation data, at QoS 1, not retained."""
    rig = Rig()
    async with rig.running():
        rig.send("stop", response_topic="replies/me", correlation_data=b"\x07")
        await rig.result(topic="replies/me")
    (message,) = rig.link.published
    assert (message.topic, message.correlation_data, message.qos, message.is_retained) == (
        "replies/me",
        b"\x07",
        1,
        False,
    )


async def test_deleting_a_retained_command_is_none() -> None:
    """The empty message that does it is told to whoever listens, and is answered by nobody."""
    rig = Rig()
    async with rig.running():
        rig.commands.receive(Incoming(TOPICS.command("stop"), b"", 1, False, None, None, ()))  # noqa: FBT003
        rig.send("stop")
        await rig.result("stop")
    assert len(rig.link.published) == 1
    assert rig.controls.calls == [("stop", None)]


async def test_a_command_delivered_again_runs_once_and_is_answered_again() -> None:
    """Also at another address, and under another command's name: the id counts."""
    rig = Rig()
    async with rig.running():
        rig.send("say", args={"text": "hello"})
        first = await rig.result()
        rig.send("say", args={"text": "hello"})
        assert await rig.result(number=1) == first
        rig.send("say", args={"text": "other"}, response_topic="replies/you")
        assert await rig.result(topic="replies/you") == first
    assert rig.controls.calls == [("say", "hello")]


async def test_a_command_under_way_is_not_begun_again_and_answers_all_who_sent_it() -> None:
    """Each address once."""
    rig = Rig()
    rig.controls.gate.clear()
    async with rig.running():
        rig.send("say", args={"text": "hello"})
        await until(lambda: rig.controls.calls)
        rig.send("say", args={"text": "hello"})
        rig.send("say", args={"text": "hello"}, response_topic="replies/you")
        await asyncio.sleep(0.01)
        rig.controls.gate.set()
        await rig.result(topic="replies/you")
        await rig.result()
    assert rig.controls.calls == [("say", "hello")]
    assert len(rig.link.published) == 2


async def test_a_result_is_known_after_a_restart(database: Database) -> None:
    """The store has it; the next process runs nothing."""
    before = Rig(CommandStore(database))
    async with before.running():
        before.send("volume", args={"percent": 30})
        result = await before.result("volume")
    after = Rig(CommandStore(database))
    async with after.running():
        after.send("volume", args={"percent": 30})
        assert await after.result("volume") == result
    assert after.controls.calls == []


async def test_a_command_that_the_process_did_not_outlive_is_reported_interrupted(database: Database) -> None:
    """At the next start, where its result was wanted; it is not begun again."""
    before = Rig(CommandStore(database))
    before.controls.gate.clear()
    async with before.running():
        before.send("say", args={"text": "hello"}, response_topic="replies/me", correlation_data=b"1")
        await until(lambda: before.controls.calls)
    assert before.controls.cancelled == 1
    assert before.link.published == []
    after = Rig(CommandStore(database))
    async with after.running():
        result = await after.result(topic="replies/me")
        assert result["error"]["code"] == "interrupted"
        assert after.link.published[0].correlation_data == b"1"
        after.send("say", args={"text": "hello"})
        assert await after.result() == result
    assert after.controls.calls == []
    again = Rig(CommandStore(database))
    async with again.running():
        again.send("stop", "b")
        await again.result("stop")
    assert len(again.link.published) == 1


async def test_an_id_is_free_again_after_a_day(database: Database) -> None:
    """Until then its result stands."""
    rig = Rig(CommandStore(database))
    async with rig.running():
        for number, passed in enumerate((timedelta(0), timedelta(hours=23), timedelta(hours=25))):
            rig.now = NOON + passed
            rig.send("stop")
            await rig.result("stop", number)
    assert len(rig.controls.calls) == 2


async def test_a_retained_command_is_refused() -> None:
    """It would run at every connection."""
    rig = Rig()
    async with rig.running():
        rig.send("stop", is_retained=True)
        result = await rig.result("stop")
    assert (result["error"]["code"], rig.controls.calls) == ("retained", [])


async def test_an_expired_command_is_refused_but_its_first_result_is_told_ever_after() -> None:
    """What was carried out in time does not become expired by being delivered again."""
    rig = Rig()
    async with rig.running():
        rig.send("stop", "late", expires_at="2026-03-01T12:00:00Z")
        assert (await rig.result("stop"))["error"]["code"] == "expired"
        rig.send("stop", "soon", expires_at="2026-03-01T13:00:01+01:00")
        assert (await rig.result("stop", 1))["ok"]
        rig.now = NOON + timedelta(minutes=1)
        rig.send("stop", "soon", expires_at="2026-03-01T13:00:01+01:00")
        assert (await rig.result("stop", 2))["ok"]
    assert len(rig.controls.calls) == 1


async def test_a_sender_that_sends_too_often_is_refused_and_others_are_not() -> None:
    """Sixty a minute are ten at once; who is refused is told when to try again."""
    rig = Rig(per_minute=60)
    async with rig.running():
        for number in range(12):
            rig.send("stop", f"a{number}", sender="busy bee")
        rig.send("stop", "b", sender="other", response_topic="replies/other")
        assert (await rig.result(topic="replies/other"))["ok"]
        await until(lambda: len(rig.results("stop")()) == 12)
        refused = [result for result in rig.results("stop")() if not result["ok"]]
        assert [result["error"]["code"] for result in refused] == ["rate_limited"] * 2
        assert "again in 1.0 s" in refused[0]["error"]["message"]
        rig.now_s = 1.0
        rig.send("stop", "c", sender="busy bee")
        await until(lambda: len(rig.controls.calls) == 12)


async def test_a_sender_with_a_thousand_names_is_bounded_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """All senders together get four times what one gets, and a flood is told of in a few lines."""
    rig = Rig(per_minute=60)
    async with rig.running():
        for number in range(1000):
            rig.send("stop", f"a{number}", sender=f"name-{number}" * 1000)
        await until(lambda: len(rig.results("stop")()) == 50)
        await until(lambda: len(rig.controls.calls) == 40)
        rig.now_s = 60.0
        rig.send("stop", "last", sender="x")
        rig.send("stop", "last-but", sender="x")
        await until(lambda: len(rig.controls.calls) == 42)
    assert sum("is refused" in record.message for record in caplog.records) == 10
    assert rig.commands.rates()[0].identities <= 256


async def test_more_than_can_be_under_way_is_busy() -> None:
    """One question at a time; `stop` goes on beside it."""
    rig = Rig()
    rig.controls.gate.clear()
    async with rig.running():
        rig.send("ask", "a", {"text": "one"})
        rig.send("ask", "b", {"text": "two"})
        result = await rig.result("ask")
        assert (result["id"], result["error"]["code"]) == ("b", "busy")
        rig.send("stop", "c")
        await until(lambda: ("stop", None) in rig.controls.calls)
        rig.controls.gate.set()
        assert (await rig.result("ask", 1))["id"] == "a"
        rig.send("ask", "b", {"text": "two"})
        assert (await rig.result("ask", 2))["ok"]


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (CommandError("unavailable", "not today"), "unavailable", "not today"),
        (BusyError("the list", 3), "busy", "the list is full"),
        (DeviceError("speaker", "is gone"), "failed", "speaker: is gone"),
        (ValueError("the secret is 42"), "failed", "a defect of the agent (ValueError); its log says where"),
    ],
)
async def test_what_goes_wrong_is_told_and_costs_nothing_else(raised: Exception, code: str, told: str) -> None:
    """A defect's own words stay in the log; the next command works."""
    rig = Rig()
    async with rig.running():
        rig.controls.raises = raised
        rig.send("stop")
        error = (await rig.result("stop"))["error"]
        assert error["code"] == code
        assert error["message"].startswith(told)
        rig.send("stop", "b")
        assert (await rig.result("stop", 1))["ok"]


async def test_a_command_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its control is cancelled."""
    from dataclasses import replace

    from edge_agent.mqtt import command_args

    quick = replace(command_args.COMMANDS["listen"], timeout_s=0.01)
    monkeypatch.setitem(command_args.COMMANDS, "listen", quick)
    rig = Rig()
    rig.controls.gate.clear()
    async with rig.running():
        rig.send("listen")
        assert (await rig.result("listen"))["error"]["code"] == "timeout"
    assert rig.controls.cancelled == 1


async def test_a_restart_comes_after_its_result() -> None:
    """Delivered again, it is answered and not done again."""
    rig = Rig()
    async with rig.running():
        rig.send("restart")
        assert (await rig.result("restart"))["ok"]
        await until(lambda: rig.controls.restarts == 1)
        rig.send("restart")
        await rig.result("restart", 1)
    assert rig.controls.restarts == 1


async def test_without_disk_and_broker_there_is_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker would order it again and again."""
    monkeypatch.setattr("edge_agent.mqtt.commands._LAST_REPLY_S", 0.01)
    rig = Rig()
    rig.link.set_connected(False)
    async with rig.running():
        rig.send("restart")
        await until(lambda: rig.controls.calls)
        await asyncio.sleep(0.05)
    assert rig.controls.restarts == 0


async def test_with_a_disk_a_restart_needs_no_broker(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    """It is noted, and will not be done again."""
    monkeypatch.setattr("edge_agent.mqtt.commands._LAST_REPLY_S", 0.01)
    rig = Rig(CommandStore(database))
    rig.link.set_connected(False)
    async with rig.running():
        rig.send("restart")
        await until(lambda: rig.controls.restarts == 1)


async def test_a_disk_that_fails_is_reported_once_and_commands_go_on() -> None:
    """As long as the process lives a command still runs once."""

    class BrokenStore(CommandStore):
        async def begin(self, *_: object, **__: object) -> None:
            raise StoreError(Path("x.db"), "the disk is full")

        async def finish(self, *_: object) -> None:
            raise StoreError(Path("x.db"), "the disk is full")

        async def unfinished(self, most: int) -> tuple[()]:
            raise StoreError(Path("x.db"), "the disk is full")

        async def prune(self, older_than: datetime) -> int:
            raise StoreError(Path("x.db"), "the disk is full")

    rig = Rig(BrokenStore(None))  # type: ignore[arg-type]
    async with rig.running():
        for number in range(2):
            rig.send("stop")
            assert (await rig.result("stop", number))["ok"]
    assert len(rig.controls.calls) == 1
    assert rig.faults == ["commands are not kept over a restart: x.db: the disk is full"]


async def test_a_bad_response_topic_is_told_at_the_commands_own(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is carried out, and nothing is published there."""
    caplog.set_level(logging.INFO)
    rig = Rig()
    async with rig.running():
        rig.send("stop", response_topic="edge-agent/kitchen/command/say")
        assert (await rig.result("stop"))["error"]["code"] == "bad_request"
    assert rig.controls.calls == []
    assert rig.link.at("edge-agent/kitchen/command/say") == []


async def test_messages_on_other_topics_are_not_taken() -> None:
    """A name must be one level, and plain."""
    rig = Rig()
    async with rig.running():
        for topic in ("edge-agent/other/command/stop", "edge-agent/kitchen/command/st op", "stop", ""):
            rig.commands.receive(
                Incoming(
                    topic, b"{}", 1, is_retained=False, response_topic=None, correlation_data=None, user_properties=()
                )
            )
        rig.send("stop")
        await rig.result("stop")
    assert len(rig.link.published) == 1


@pytest.fixture
async def database(tmp_path: Path, file_pool: Pool) -> AsyncIterator[Database]:
    """An empty database."""
    async with Database(tmp_path / "state.db", file_pool) as database:
        yield database
