"""The running agent as one object, whose configuration may change while it runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.blame import problems_of
from edge_agent.app.body import Body, Lasting, Remains, open_body
from edge_agent.app.change import ChangeError
from edge_agent.app.health import HEARING, SOURCE, Mark, prove
from edge_agent.app.loading import PartError
from edge_agent.app.mouth import Mouth
from edge_agent.app.parts import Part, affected, changed_keys, describe
from edge_agent.app.recorder import FlightRecorder
from edge_agent.app.status import StatusBook
from edge_agent.app.swapping import quiet, swap
from edge_agent.app.vitality import signs_of
from edge_agent.errors import BadInputError, ConfigProblem, FaultError
from edge_agent.runtime.lag import LoopLag
from edge_agent.runtime.logs import set_level
from edge_agent.runtime.loop import single_error
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.report import Reporter, Sources
from edge_agent.runtime.tasks import TrackedTasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from edge_agent.app.brain import Brain
    from edge_agent.app.vitality import Signs
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.ears import Ears
    from edge_agent.pipeline.observer import Observer
    from edge_agent.pipeline.respond import EventPublisher
    from edge_agent.pipeline.run import Runner
    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.logs import LogQueue
    from edge_agent.runtime.pool import PoolStatistics
    from edge_agent.runtime.pressure import PressureState
    from edge_agent.store.database import Database

_log = logging.getLogger(__name__)

_REQUESTS_BURST = 40
_REQUESTS_PER_S = 20.0
"""Of one user: a report costs the loop milliseconds, and nobody reads more."""
_OUTSIDE = frozenset((Part.LINK, Part.LOG))
"""Parts that the body has none of."""


@dataclass(frozen=True, slots=True)
class World:
    """What an agent is given; all of it outlives the agent.

    Attributes:
        observer: Watches the conversation.
        logs: Counts log records that were lost.
        recorder: None: a new one.
        database: Open; None: the agent opens its own.
        publisher: Takes events of intents; None: they are logged.
        set_log_level: Logs from another level on.
        on_loaded: Is called whenever engines were loaded for a new body, before the microphone is opened.
    """

    observer: Observer
    logs: LogQueue | None = None
    recorder: FlightRecorder | None = None
    database: Database | None = None
    publisher: EventPublisher | None = None
    set_log_level: Callable[[str], None] = set_level
    on_loaded: Callable[[], None] = lambda: None


class Agent:
    """Hears, thinks and speaks; `apply` changes how, `prove` tells whether it works. Belongs to the loop.

    What a change concerns is restarted, everything else goes on. Only another core takes everything down and up again;
    what is counted and remembered, timers and the volume survive that.

    Attributes:
        mouth: The speaker and its volume.
        book: The status: state, engines, counters, faults.
        recorder: The last turns.
        metrics: What was done since the beginning.
        reporter: The report, of whatever runs.
        link_is_well: Tells whether the broker is reachable; None where there is none to reach. To be set.
        on_change: Is told the parts that were restarted, after each change that succeeded. To be set.
        on_changing: Is told what is being changed when a change begins, and nothing when it has ended, in whatever
            way. To be set.
    """

    def __init__(self, config: Config, world: World, metrics: Metrics, tasks: TrackedTasks) -> None:
        self._config = config
        self._world = world
        self._tasks = tasks
        self._body: Body | None = None
        self._remains: Remains | None = None
        self._living: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._touched: frozenset[Part] = frozenset()
        self._unproven: frozenset[Part] = frozenset(Part)
        self._mark = Mark(frozenset(Part), 0, 0)
        self._was_changed = False
        self.mouth = Mouth(config.audio)
        self.book = StatusBook()
        self.recorder = world.recorder or FlightRecorder(config.recorder)
        self.metrics = metrics
        self.link_is_well: Callable[[], bool | None] = lambda: None
        self.on_change: Callable[[frozenset[Part]], None] = lambda _: None
        self.on_changing: Callable[[str], None] = lambda _: None
        self._changes = 0
        self._is_changing = False
        self._lag = lag = LoopLag()
        self._requests = RateLimiter("socket", burst=_REQUESTS_BURST, per_s=_REQUESTS_PER_S)
        self.reporter = Reporter(self._sources(lag))
        self._lasting = Lasting(
            observer=world.observer,
            mouth=self.mouth,
            book=self.book,
            recorder=self.recorder,
            metrics=self.metrics,
            lag=lag,
            requests=self._requests,
            reporter=self.reporter,
            database=world.database,
            publisher=world.publisher,
            on_loaded=world.on_loaded,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config, world: World) -> AsyncIterator[Agent]:
        """Build the agent and let it run for as long as the context lasts.

        What ends it by itself, a defect, cancels who has opened it, and is raised on leaving.

        Raises:
            BadInputError: The configuration, a model or an intents file is wrong.
            FaultError: An engine did not start, or a pin can't be had.
        """
        metrics = Metrics()
        try:
            async with TrackedTasks(metrics) as tasks:
                agent = cls(config, world, metrics, tasks)
                await agent._begin(config, None)
                try:
                    yield agent
                finally:
                    await agent._end()
        except BaseExceptionGroup as group:
            if (error := single_error(group)) is not None:
                raise error from group
            raise

    @property
    def config(self) -> Config:
        """The configuration that runs, or ran last where a change has failed."""
        return self._config

    @property
    def runner(self) -> Runner | None:
        """The conversation; None while the core is another one."""
        return None if self._body is None else self._body.voice.runner

    @property
    def ears(self) -> Ears | None:
        """What hears; None while the core is another one."""
        return None if self._body is None else self._body.voice.ears

    @property
    def brain(self) -> Brain | None:
        """What thinks; None while the core is another one."""
        return None if self._body is None else self._body.brain

    @property
    def pressure(self) -> PressureState | None:
        """The last look at the sensors; None before the first."""
        return None if self._body is None else self._body.strain.state

    @property
    def is_warm(self) -> bool:
        """Whether nothing is being loaded: the engines are there, and the language model, where it is wanted."""
        body = self._body
        return body is not None and (body.brain.is_settled or not body.keeping.is_wanted)

    @property
    def trouble(self) -> str:
        """Why nothing usable is heard; empty while it is, and while the microphone is only being opened."""
        return "" if self._body is None else self._body.listening.trouble

    @property
    def frames_heard(self) -> int:
        """Frames that went through the ears of the core that runs."""
        return 0 if self._body is None else self._body.voice.ears.frames_heard

    @property
    def signs(self) -> Signs:
        """What a judge of its vitality looks at."""
        return signs_of(self._body, self._lag.latest_s, self._changes, is_changing=self._is_changing)

    async def saved(self) -> None:
        """Wait until timers and alarms are on disk, or can't be written."""
        if self._body is not None:
            await self._body.clock.saved()

    async def apply(self, config: Config) -> None:
        """Make `config` the running one, restarting only the parts whose settings differ.

        Cancelled or failed, it leaves the agent in a state from which another `apply` works. Where a part does not even
        load, the one before goes on.

        Raises:
            ChangeError: A part does not start with it; `problems` name the keys where they are known.
        """
        async with self._changing:
            parts = await self._apply(config, frozenset())
        self.on_change(parts)

    async def renew(self, parts: frozenset[Part]) -> None:
        """Load `parts` anew with the configuration that runs, since something that they choose by themselves is new.

        Where one does not load, the one before goes on.

        Raises:
            ChangeError: A part does not start.
        """
        async with self._changing:
            renewed = await self._apply(self._config, parts)
        self.on_change(renewed)

    async def prove(self, within_s: float) -> list[ConfigProblem]:
        """Return nothing as soon as the agent has proved itself well, else what is wrong; see `health.prove`."""
        if self._body is None:
            return [ConfigProblem("", "nothing runs: the last change has failed", SOURCE)]
        problems = await prove(self._body, self._mark, self.link_is_well, within_s)
        if not problems:
            self._unproven = frozenset()
        return problems

    def _begin_change(self, parts: frozenset[Part]) -> None:
        self._changes += 1
        self._is_changing = True
        self.on_changing(describe(parts) or "nothing")

    def _end_change(self) -> None:
        self._is_changing = False
        self.on_changing("")

    async def _apply(self, config: Config, anew: frozenset[Part]) -> frozenset[Part]:
        """Restart what differs in `config`, and `anew`; return what that was. One at a time."""
        was_deaf = self._body is not None and bool(self._body.listening.trouble)
        keys = changed_keys(self._config, config)
        parts = affected(keys) | self._touched | anew
        if parts:
            _log.info("configuration: %s", describe(parts))
        self._begin_change(parts)
        try:
            await self._change(config, parts)
        except PartError as error:
            raise ChangeError(problems_of(error.cause, error.part, keys, SOURCE)) from error
        except (BadInputError, FaultError) as error:
            raise ChangeError(problems_of(error, None, keys, SOURCE)) from error
        finally:
            # What nobody has changed since the start is not this change's fault.
            self._unproven = parts | (self._unproven if self._was_changed else frozenset())
            self._was_changed = True
            self._remark(was_deaf=was_deaf)
            self._end_change()
        self._config = config
        self._touched = frozenset()
        return parts

    async def _change(self, config: Config, parts: frozenset[Part]) -> None:
        inner = parts - _OUTSIDE
        if Part.LOG in parts:
            self._world.set_log_level(config.log_level)
            self._touched |= {Part.LOG}
        if self._body is None or Part.CORE in inner:
            await self._begin_anew(config, parts)
        elif inner:
            await swap(self._body, config, inner, on_touched=lambda: self._touch(parts))

    def _touch(self, parts: frozenset[Part]) -> None:
        self._touched |= parts

    def _remark(self, *, was_deaf: bool = False) -> None:
        if (body := self._body) is not None:
            must_hear = not was_deaf or not self._unproven.isdisjoint(HEARING)
            self._mark = Mark(self._unproven, body.voice.ears.frames_heard, body.stage_faults, must_hear=must_hear)

    async def _begin_anew(self, config: Config, parts: frozenset[Part]) -> None:
        if self._body is not None:
            await quiet(self._body.voice.runner)
            self._remains = self._body.remains
        await self._end()
        self._touch(parts | {Part.CORE})
        await self.mouth.configure(config.audio)
        self.recorder.configure(config.recorder)
        await self._begin(config, self._remains)
        self._remains = None

    async def _begin(self, config: Config, before: Remains | None) -> None:
        opened: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        self._living = self._tasks.create_task(self._live(config, before, opened), name="agent.body")
        try:
            self._body = await opened
        except asyncio.CancelledError:
            self._living.cancel()
            raise
        self._remark()

    async def _live(self, config: Config, before: Remains | None, opened: asyncio.Future[Body]) -> None:
        """Hold a body for as long as this is not cancelled; what enters it leaves it in the same task."""
        try:
            async with open_body(config, self._lasting, before) as body:
                if not opened.done():
                    opened.set_result(body)
                await asyncio.get_running_loop().create_future()  # until cancelled
        except (Exception, BaseExceptionGroup) as error:
            if opened.done():
                raise
            single = single_error(error) if isinstance(error, BaseExceptionGroup) else error
            opened.set_exception(single or error)

    async def _end(self) -> None:
        """End the body that runs, and wait for that; one that was being ended already is waited for, too."""
        self._body = None
        if self._living is not None:
            if not self._living.cancelling():
                self._living.cancel()
            await asyncio.wait({self._living})
            self._living = None

    def _sources(self, lag: LoopLag) -> Sources:
        """Say where the report's figures come from: from the body that runs, if one does."""

        def pools() -> Iterable[PoolStatistics]:
            body = self._body
            return () if body is None else (*(pool.statistics() for pool in body.core.pools), *self.book.threads())

        def channels() -> Iterable[ChannelStatistics]:
            voice = None if self._body is None else self._body.voice
            of_voice = () if voice is None else (*voice.runner.channels(), voice.phrases.cache.channel)
            return (*self.book.channels(), *of_voice)

        return Sources(
            self.metrics,
            pools=pools,
            ledger=lambda: None if self._body is None else self._body.core.ledger.statistics(),
            channels=channels,
            limits=lambda: () if self._body is None else self._body.core.limits.statistics(),
            rates=lambda: [self._requests.statistics()],
            lag=lag,
            pressure=lambda: self.pressure,
            logs_lost=lambda: 0 if self._world.logs is None else self._world.logs.lost,
        )
