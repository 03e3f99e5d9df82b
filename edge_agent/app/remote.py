"""The device: its agent, the broker it is watched through, and what may be changed and commanded from there."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from edge_agent import __version__
from edge_agent.app.agent import Agent, World
from edge_agent.app.parts import Part
from edge_agent.app.places import find_places
from edge_agent.app.publishing import make_outbox, make_topics, open_mqtt_pool
from edge_agent.app.reconfiguration import Reconfiguration, RollBackFailedError
from edge_agent.app.remote_control import ControlledParts, RemoteControl
from edge_agent.app.remote_facts import facts, standing
from edge_agent.errors import BadInputError, FaultError
from edge_agent.mqtt.command_memory import CommandMemory
from edge_agent.mqtt.command_request import MOST_COMMAND_BYTES
from edge_agent.mqtt.commands import Commands
from edge_agent.mqtt.desired import MOST_BYTES
from edge_agent.mqtt.discovery import Discovery
from edge_agent.mqtt.link import BrokerLink
from edge_agent.mqtt.retained import RetainedDocument
from edge_agent.mqtt.telling import Telling
from edge_agent.pipeline.observer import Observers
from edge_agent.runtime.loop import single_error
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.tasks import Supervisor
from edge_agent.store.commands import CommandStore
from edge_agent.store.database import Database
from edge_agent.store.retained import RetainedStore
from edge_agent.store.revisions import RevisionStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from edge_agent.app.recorder import FlightRecorder
    from edge_agent.app.telling import StatusFacts
    from edge_agent.config.load import OwnConfig
    from edge_agent.config.schema import Config
    from edge_agent.mqtt.events import EventOutbox
    from edge_agent.mqtt.incoming import Incoming
    from edge_agent.mqtt.topics import Topics
    from edge_agent.pipeline.observer import Observer
    from edge_agent.runtime.logs import LogQueue

_log = logging.getLogger(__name__)

_STATE_WORKERS = 3
"""The database's writer, a reader, and the files of the remote configuration."""
_LEAVING_S = 0.5
_UNIT_VARIABLES = ("INVOCATION_ID", "SYSTEMD_EXEC_PID")
"""Set by systemd for what it started, and so would start again. A terminal that it started hands them on to its
programs; the second one, where there is one (systemd 248), tells those from the service."""


class RestartRequestedError(FaultError):
    """A command asked for it; whoever keeps the service running starts it again."""

    def __init__(self) -> None:
        super().__init__("a command asked for a restart")


@dataclass(frozen=True, slots=True)
class Means:
    """What a device is started with.

    Attributes:
        observer: Watches the conversation.
        logs: Counts log records that were lost.
        set_log_level: Logs from another level on.
        attend: Is given the agent when it runs, and what reads the owner's file again.
        read_own: Reads the owner's configuration again; None: it is never read again.
        on_loaded: Is called whenever engines were loaded for a new start, before the microphone is opened.
    """

    observer: Observer
    recorder: FlightRecorder
    logs: LogQueue | None = None
    set_log_level: Callable[[str], None] = lambda _: None
    attend: Callable[[Agent, Callable[[], None]], None] = lambda _agent, _reread: None
    read_own: Callable[[], OwnConfig] | None = None
    on_loaded: Callable[[], None] = lambda: None


async def hold_device(own: OwnConfig, means: Means) -> NoReturn:
    """Let the agent run, with the owner's configuration and what was accepted over it, until cancelled.

    Raises:
        BadInputError: The owner's configuration, a model or an intents file is wrong.
        FaultError: An engine did not start, or the agent does not return from a failed change.
        RestartRequestedError: A command asked for it.
    """
    try:
        async with _open_device(own, means) as device:
            await device.ended
    except BaseExceptionGroup as group:
        if (error := single_error(group)) is not None:
            raise error from group
        raise
    raise AssertionError("a device ends with an error")  # for the type checker: `ended` never returns


class _Device:
    """What the parts below have to know of each other, which are made one after the other. Belongs to the loop."""

    def __init__(self, means: Means, topics: Topics) -> None:
        self.means = means
        self.topics = topics
        self.metrics = Metrics()
        self.stages = Supervisor(self.metrics, self.tell)
        self.acting = Supervisor(self.metrics, self.tell)
        """What changes or commands the agent, and so ends before it."""
        self.database: Database | None = None
        self.agent: Agent | None = None
        self.telling: Telling | None = None
        self.facts: StatusFacts | None = None
        self.ended: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        self.control = RemoteControl(
            ControlledParts(
                runner=lambda: None if self.agent is None else self.agent.runner,
                ears=lambda: None if self.agent is None else self.agent.ears,
                brain=lambda: None if self.agent is None else self.agent.brain,
                volume=lambda: self.present.mouth,
                hears=lambda: self.agent is not None and bool(self.agent.book.channels()),
                kept=self._kept,
                restart=self._restart if _is_kept_running(os.environ) else None,
                pull_model=self._pull_model,
            ),
            changed=self.changed,
        )

    @property
    def present(self) -> Agent:
        """The agent, once it was opened."""
        if self.agent is None:
            raise FaultError("the agent is still starting")
        return self.agent

    @property
    def observer(self) -> Observer:
        """Everybody outside of the agent who watches it."""
        watching = [self.means.observer, self.control]
        return Observers(*watching) if self.telling is None else Observers(*watching, self.telling)

    def changed(self) -> None:
        """Something of the status is different."""
        if self.telling is not None:
            self.telling.changed()

    def tell(self, fault: str) -> None:
        """Tell everybody of something that failed beside the conversation."""
        _log.error("%s", fault)
        self.observer.fault(fault)
        if self.agent is not None:
            self.agent.book.fault(fault)

    def describe(self) -> Mapping[str, Any]:
        """Return the status."""
        return {"state": "starting"} if self.facts is None else self.facts.describe()

    def report(self) -> Mapping[str, Any]:
        """Return the figures."""
        return {} if self.agent is None else self.agent.reporter.report().as_json()

    async def change_loop(self, changes: Reconfiguration) -> None:
        """Take changes; where the agent does not return from one that failed, the service ends."""
        try:
            await changes.run_loop(self.present)
        except RollBackFailedError as error:
            self._end(error)

    async def _kept(self) -> None:
        await self.present.saved()

    async def _pull_model(self, name: str) -> dict[str, Any]:
        from edge_agent.app.model_pulling import ModelPulling

        agent = self.present
        pulling = ModelPulling(lambda: agent.config, lambda: agent.pressure, agent.renew, self.metrics)
        return await pulling.pull(name)

    def _restart(self) -> None:
        self._end(RestartRequestedError())

    def _end(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


def _is_kept_running(environ: Mapping[str, str]) -> bool:
    """Tell whether systemd runs this process as a service, by itself or by a launcher."""
    unit, started = (environ.get(name, "") for name in _UNIT_VARIABLES)
    return bool(unit) and started in ("", str(os.getpid()), str(os.getppid()))


@asynccontextmanager
async def _open_device(own: OwnConfig, means: Means) -> AsyncIterator[_Device]:
    config = own.under()
    device = _Device(means, make_topics(config))
    async with AsyncExitStack() as stack:
        pool = Pool("state", most_workers=_STATE_WORKERS)
        stack.push_async_callback(pool.close, _LEAVING_S)
        places = await pool.run(partial(find_places, config.directories), kind="load.places")
        revisions = RevisionStore(places.state / "remote.json")
        changes = Reconfiguration(
            own, revisions, pool, device_id=device.topics.device_id, tell=device.tell, read_own=means.read_own
        )
        config = await changes.boot()
        stack.push_async_exit(partial(_stopped, changes))
        device.database = await _open_database(stack, Database(places.state / "edge-agent.db", pool), device.tell)
        await stack.enter_async_context(device.stages)
        connected = await _connect(stack, device, config) if config.mqtt.host else None
        world = World(
            device.observer,
            logs=means.logs,
            recorder=means.recorder,
            database=device.database,
            publisher=None if connected is None else connected[1],
            set_log_level=means.set_log_level,
            on_loaded=means.on_loaded,
        )
        means.recorder.configure(config.recorder)
        agent = device.agent = await _open_agent(stack, own, changes, world)
        means.attend(agent, changes.reread)
        await stack.enter_async_context(device.acting)
        if connected is not None:
            link, outbox = connected
            agent.book.on_change = device.changed
            agent.book.broker = partial(standing, device.metrics, link, outbox)
            agent.link_is_well = lambda: link.state.is_connected
            device.facts = facts(device.metrics, agent, link, outbox, changes, groups=device.topics.groups)
            _take_changes(device, link, changes)
            if config.remote.commands:
                _take_commands(device, link, config)
            _appear(device, agent, link, changes.config)
            device.stages.keep("mqtt.link", link.run_loop)
        device.acting.keep("config.changes", partial(device.change_loop, changes))  # without a broker it counts starts
        yield device


async def _stopped(
    changes: Reconfiguration, _kind: type[BaseException] | None, error: BaseException | None, _trace: object
) -> None:
    """A start that is broken off by order is not held against the remote documents either."""
    if isinstance(error, asyncio.CancelledError):
        await changes.end_well()


async def _open_agent(stack: AsyncExitStack, own: OwnConfig, changes: Reconfiguration, world: World) -> Agent:
    """Open the agent; where it does not start with what was accepted remotely, as its owner configured it."""
    try:
        world.set_log_level(changes.config.log_level)
        return await stack.enter_async_context(Agent.open(changes.config, world))
    except (BadInputError, FaultError) as error:
        if changes.config == own.under():
            raise
        config = await changes.fall_back(str(error))
        world.set_log_level(config.log_level)
        return await stack.enter_async_context(Agent.open(config, world))


async def _open_database(stack: AsyncExitStack, database: Database, tell: Callable[[str], None]) -> Database | None:
    try:
        return await stack.enter_async_context(database)
    except FaultError as error:
        tell(f"conversations, timers, alarms and events are not stored: {error}")
        return None


async def _connect(stack: AsyncExitStack, device: _Device, config: Config) -> tuple[BrokerLink, EventOutbox]:
    """Make what speaks with the broker; `link.run_loop` connects."""
    link = BrokerLink(config.mqtt, device.topics, await stack.enter_async_context(open_mqtt_pool()))
    await link.check_files()
    outbox = make_outbox(config.mqtt, link, device.topics, device.database, device.tell)
    device.telling = Telling(
        link,
        device.topics,
        outbox,
        describe=device.describe,
        report=device.report,
        publish_text=config.privacy.publish_text,
        metrics_every_s=config.mqtt.metrics_every_s,
    )
    device.stages.keep("mqtt.outbox", outbox.run_loop)
    device.stages.keep("mqtt.telling", device.telling.run_loop)
    return link, outbox


def _take_changes(device: _Device, link: BrokerLink, changes: Reconfiguration) -> None:
    reported = RetainedDocument(link, device.topics.reported, lambda: changes.reported)

    def was_reported(_: Mapping[str, Any]) -> None:
        reported.changed()
        device.changed()

    def offer(message: Incoming) -> None:
        changes.offer(message.topic, message.payload)

    def refused(topic: str, _reason: str) -> None:
        changes.offer(topic, bytes(MOST_BYTES + 1))  # is reported as what it is: too large

    changes.watch(was_reported)
    for topic in changes.topics:
        link.on(topic, offer, most_bytes=MOST_BYTES, on_refused=refused)
    device.stages.keep("config.reported", reported.run_loop)


def _take_commands(device: _Device, link: BrokerLink, config: Config) -> None:
    commands = Commands(
        link,
        device.topics,
        device.control,
        CommandMemory(None if device.database is None else CommandStore(device.database), device.tell),
        device.metrics,
        per_minute=config.remote.commands_per_minute,
        discovery_prefix=config.home_assistant.prefix,
    )
    link.on(device.topics.commands, commands.receive, most_bytes=MOST_COMMAND_BYTES)
    device.acting.keep("mqtt.commands", commands.run_loop)


def _appear(device: _Device, agent: Agent, link: BrokerLink, config: Config) -> None:
    """Appear in Home Assistant as it is configured; it is the only thing of the link's that may be changed remotely."""
    discovery = Discovery(
        link,
        device.topics,
        config.home_assistant,
        None if device.database is None else RetainedStore(device.database),
        version=__version__,
        takes_commands=config.remote.commands,
    )
    changed = asyncio.Event()

    async def discover_loop() -> None:
        while True:
            changed.clear()
            discovery.configure(agent.config.home_assistant)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(discovery.run_loop(), name="mqtt.discovery.run")
                await changed.wait()
                running.cancel()

    def on_change(parts: frozenset[Part]) -> None:
        device.changed()
        if Part.LINK in parts:
            changed.set()

    agent.on_change = on_change
    device.stages.keep("mqtt.discovery", discover_loop)
