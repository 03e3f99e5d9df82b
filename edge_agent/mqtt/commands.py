"""Takes commands from the broker, carries each out once and answers it.

Incoming ─▶ retained? too often? ─▶ queue ─▶ read ─▶ known id? ─▶ noted on disk ─▶ carried out ─▶ noted ─▶ result
                   └─────────────────────┴──────┴─────────┴─▶ result with an error, or the result of before
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from edge_agent.errors import BusyError, EdgeAgentError, JobTimeoutError, RateLimitedError
from edge_agent.mqtt.command_memory import utc_now
from edge_agent.mqtt.command_request import RequestError, read_request
from edge_agent.mqtt.controls import CommandError
from edge_agent.mqtt.reply import Replies, Reply, ReplyAddress, refusal, reply_address, result_of
from edge_agent.mqtt.sending import Connected
from edge_agent.runtime.channel import Channel
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.tasks import TrackedTasks, run_isolated
from edge_agent.store.commands import StoredCommand

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from edge_agent.mqtt.command_memory import CommandMemory
    from edge_agent.mqtt.command_request import CommandRequest
    from edge_agent.mqtt.controls import Controls, ErrorCode
    from edge_agent.mqtt.link import Incoming
    from edge_agent.mqtt.sending import Link
    from edge_agent.mqtt.topics import Topics
    from edge_agent.runtime.metrics import Metrics
    from edge_agent.runtime.rates import RateStatistics

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_QUEUED = 64
_UNDER_WAY = 16
"""More than what takes time may be under way: there is always room for what is done at once."""
_SENDERS = 256
_ALL_SENDERS = 4
"""So many times what one sender may: a sender names itself, and may name itself anew each time."""
_BURST_S = 10.0
"""What a sender may send at once is its share of this time."""
_REFUSED_BURST = 10
_REFUSED_PER_S = 0.5
"""Who sends too often is told so, but not each time."""
_SAME_ID = 8
"""So many senders, or copies, of one command get its result."""
_LAST_REPLY_S = 3.0
"""So long a restart waits for its result to be acknowledged."""
_LONGEST_SENDER = 64
_RETAINED = "a retained command would be carried out at every connection; publish it unretained"


@dataclass(slots=True)
class _UnderWay:
    name: str
    addresses: list[ReplyAddress] = field(default_factory=list)


class Commands:
    """Commands to one device. `receive` takes them; `run_loop` carries them out. Belongs to the loop.

    Args:
        controls: What they act on.
        memory: Knows which were carried out before.
        per_minute: Commands of one sender in a minute.
        discovery_prefix: Below it no result may go.
        now: The time of day, for deadlines.
    """

    def __init__(
        self,
        link: Link,
        topics: Topics,
        controls: Controls,
        memory: CommandMemory,
        metrics: Metrics,
        *,
        per_minute: int,
        discovery_prefix: str = "homeassistant",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._topics = topics
        self._controls = controls
        self._memory = memory
        self._metrics = metrics
        self._discovery_prefix = discovery_prefix
        self._now = now
        self._replies = Replies(link, Connected(link), metrics.clock)
        burst = max(1, ceil(per_minute * _BURST_S / 60))
        self._sender_rates = RateLimiter("commands", burst, per_minute / 60, _SENDERS, metrics.clock)
        self._total_rates = RateLimiter(
            "commands, all senders", _ALL_SENDERS * burst, _ALL_SENDERS * per_minute / 60, 1, metrics.clock
        )
        self._told_rates = RateLimiter("refused commands", _REFUSED_BURST, _REFUSED_PER_S, 1, metrics.clock)
        self._queue: Channel[tuple[str, ReplyAddress, bytes]] = Channel(_QUEUED, name="mqtt.commands")
        self._under_way: dict[str, _UnderWay] = {}
        self._freed = asyncio.Event()
        self._untold = 0

    def rates(self) -> tuple[RateStatistics, ...]:
        """Return how many commands were let through and turned away."""
        return self._sender_rates.statistics(), self._total_rates.statistics()

    def receive(self, incoming: Incoming) -> None:
        """Take a message from `command/+`; never waits, never fails."""
        name = incoming.topic.rpartition("/")[2]
        if not _NAME.fullmatch(name) or incoming.topic != self._topics.command(name):
            if self._told_rates.allow(""):
                _log.warning("a message on %r is no command", incoming.topic[:80])
            return
        if not incoming.payload:
            return  # how a retained message is deleted
        address = ReplyAddress(self._topics.result(name))
        try:
            self._check_rate(incoming)
            address = reply_address(
                address.topic, incoming.response_topic, incoming.correlation_data, self._discovery_prefix
            )
        except RateLimitedError as error:
            self._refuse_rate(name, address, incoming, error)
        except CommandError as error:
            self._refuse(name, address, None, error)
        else:
            if incoming.is_retained:
                self._refuse(name, address, None, CommandError("retained", _RETAINED))
            elif not self._queue.offer((name, address, incoming.payload)):
                self._refuse(name, address, None, CommandError("busy", f"{_QUEUED} commands wait; send it again"))

    async def run_loop(self) -> None:
        """Carry commands out until cancelled; those of an earlier process that did not end are reported first."""
        try:
            async with TrackedTasks(self._metrics) as tasks:
                tasks.create_task(self._replies.send_loop(), name="mqtt.commands.reply")
                tasks.create_task(self._memory.tidy_loop(), name="mqtt.commands.tidy")
                await self._report_interrupted()
                while True:
                    await self._room()
                    name, address, payload = await self._queue.get()
                    self._accept(tasks, name, address, payload)
        finally:
            self._under_way.clear()

    async def _room(self) -> None:
        """Wait while as much is under way as may be."""
        while len(self._under_way) >= _UNDER_WAY:
            self._freed.clear()
            await self._freed.wait()

    def _accept(self, tasks: TrackedTasks, name: str, address: ReplyAddress, payload: bytes) -> None:
        try:
            request = read_request(name, payload)
        except RequestError as error:
            self._refuse(name, address, error.request_id, error)
            return
        if (twin := self._under_way.get(request.id)) is not None:
            if address not in twin.addresses and len(twin.addresses) < _SAME_ID:
                twin.addresses.append(address)
            _log.info("command %s came again while it is under way", name)
            return
        command = request.command
        alike = sum(other.name == name for other in self._under_way.values())
        if command.most is not None and alike >= command.most:
            self._refuse(
                name, address, request.id, CommandError("busy", f"{alike} of {name} are under way; send it again")
            )
            return
        self._under_way[request.id] = _UnderWay(name, [address])
        tasks.create_task(self._carry_out(request, address), name=f"mqtt.command.{name}")

    async def _carry_out(self, request: CommandRequest, address: ReplyAddress) -> None:
        command = request.command
        noted = StoredCommand(request.id, command.name, address.topic, address.correlation, self._now())
        try:
            earlier = await self._memory.begin(noted)
            if earlier is not None:
                _log.info("command %s was carried out before: its result is sent again", command.name)
                payload = earlier.result or await self._give_up(earlier)
                self._answer(request.id, payload)
                return
            payload, is_done = await self._perform(request)
            await self._memory.finish(noted, payload)
            reply = self._answer(request.id, payload)
            if command.ends_service and is_done:
                await self._end_service(reply)
        finally:
            self._under_way.pop(request.id, None)
            self._freed.set()

    async def _perform(self, request: CommandRequest) -> tuple[bytes, bool]:
        """Return the result, and whether it was carried out."""
        command = request.command
        if request.expires_at is not None and request.expires_at <= self._now():
            _log.warning("command %s expired before it came", command.name)
            return refusal(request.id, "expired", f"it expired at {request.expires_at.isoformat()}"), False
        payload = b""

        async def work() -> None:
            nonlocal payload
            async with asyncio.timeout(command.timeout_s):
                payload = result_of(request.id, await command.run(self._controls, request.args))

        error = await run_isolated(work(), f"mqtt.command.{command.name}.work", self._metrics)
        if error is None:
            _log.info("command %s was carried out", command.name)
            return payload, True
        code, message = _told(error, command.timeout_s)
        # What was raised on purpose says all in its message; anything else is a defect, whose place is wanted.
        expected = isinstance(error, EdgeAgentError | TimeoutError)
        _log.warning("command %s: %s", command.name, code, exc_info=None if expected else error)
        return refusal(request.id, code, message), False

    async def _end_service(self, reply: Reply | None) -> None:
        """End the service when the broker has the result: what it has acknowledged it does not deliver again."""
        if reply is not None:
            try:
                async with asyncio.timeout(_LAST_REPLY_S):
                    await reply.settled.wait()
            except TimeoutError:
                _log.warning("the result of a restart is not acknowledged")
        if (reply is not None and reply.was_sent) or self._memory.is_durable:
            self._controls.restart()
        else:
            _log.error("no restart: nothing would keep the broker from ordering it again and again")

    async def _report_interrupted(self) -> None:
        for command in await self._memory.unfinished():
            _log.warning("command %s was interrupted by the end of the service", command.name)
            self._replies.send(ReplyAddress(command.reply_topic, command.correlation), await self._give_up(command))

    async def _give_up(self, command: StoredCommand) -> bytes:
        payload = refusal(
            command.id,
            "interrupted",
            "the service ended while it was carried out; it is not known how far it came, and it is not begun again",
        )
        await self._memory.finish(command, payload)
        return payload

    def _answer(self, request_id: str, payload: bytes) -> Reply | None:
        """Send a result to all who wait for it; return the first one's reply."""
        under_way = self._under_way.pop(request_id, None)
        addresses = [] if under_way is None else under_way.addresses
        replies = [self._replies.send(address, payload) for address in addresses]
        return replies[0] if replies else None

    def _refuse(self, name: str, address: ReplyAddress, request_id: str | None, error: CommandError) -> None:
        _log.warning("command %s is refused: %s", name, error.code)
        _log.debug("%s", error.message)
        self._replies.send(address, refusal(request_id, error.code, error.message))

    def _check_rate(self, incoming: Incoming) -> None:
        self._sender_rates.check(_sender(incoming))
        self._total_rates.check("all senders")

    def _refuse_rate(self, name: str, address: ReplyAddress, incoming: Incoming, error: RateLimitedError) -> None:
        if not self._told_rates.allow(""):
            self._untold += 1
            return
        if self._untold:
            _log.warning("%d commands more were refused: too many", self._untold)
            self._untold = 0
        try:
            address = reply_address(
                address.topic, incoming.response_topic, incoming.correlation_data, self._discovery_prefix
            )
        except CommandError:
            _log.debug("its response topic can't be used")
        self._refuse(name, address, None, CommandError("rate_limited", str(error)))


def _told(error: Exception, timeout_s: float) -> tuple[ErrorCode, str]:
    """Return what is told of an error."""
    match error:
        case CommandError():
            return error.code, error.message
        case BusyError():
            return "busy", str(error)
        case TimeoutError():
            return "timeout", f"it took longer than {timeout_s:g} s and was given up"
        case JobTimeoutError():
            return "timeout", str(error)
        case EdgeAgentError():
            return "failed", str(error)
    return "failed", f"a defect of the agent ({type(error).__name__}); its log says where"


def _sender(incoming: Incoming) -> str:
    """Return what a sender goes by: the name it gives, or where it wants its results; MQTT tells no more of it."""
    named = next((value for key, value in incoming.user_properties if key == "sender" and value), None)
    sender = named or incoming.response_topic or "anonymous"
    if len(sender) <= _LONGEST_SENDER and sender.isprintable():
        return sender
    return hashlib.sha256(sender.encode("utf-8", "replace")).hexdigest()[:16]
