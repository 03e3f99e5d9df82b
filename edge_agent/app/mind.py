"""What the intents of a configuration come to: computed beside what answers now, and then taken into use at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from edge_agent.app.local_clock import LocalClock
from edge_agent.pipeline.respond import FixedTexts
from edge_agent.reason.alarms import AlarmBook
from edge_agent.reason.bell import Bell
from edge_agent.reason.completeness import CompletenessJudge
from edge_agent.reason.history import History
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.spoken import speech
from edge_agent.reason.timers import TimerBook
from edge_agent.reason.tools import ToolBox
from edge_agent.reason.wording import Answers

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.reason.actions import Actor, Reply
    from edge_agent.reason.matcher import IntentMatch
    from edge_agent.reason.ports import Clock
    from edge_agent.reason.templates import IntentSet
    from edge_agent.runtime.pool import Pool
    from edge_agent.runtime.pools import Station


@dataclass(frozen=True, slots=True)
class Mind:
    """What the intents of a configuration come to, before anybody answers by it.

    Attributes:
        box: What a model may do; None where there is none, or it may do nothing.
    """

    config: Config
    intents: IntentSet
    matcher: IntentMatcher
    judge: CompletenessJudge
    box: ToolBox | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What goes on where one brain ends and another one begins."""

    clock: Clock
    bell: Bell
    history: History

    @classmethod
    def nothing(cls) -> Self:
        """Return what a first brain knows."""
        clock = LocalClock()
        return cls(clock, Bell(clock, TimerBook(clock), AlarmBook(clock)), History(0))


async def make_mind(config: Config, pool: Pool, intents: IntentSet, *, has_model: bool) -> Mind:
    """Compute it on `pool`."""
    await pool.run(lambda: speech(config.language).number(1), kind="load.speech")  # the first number reads a file
    matcher = await pool.run(lambda: IntentMatcher(intents.intents, config.language), kind="load.matcher")
    judge = await pool.run(
        lambda: CompletenessJudge(intents.intents, config.language, matcher.automaton), kind="load.judge"
    )
    box = None
    if has_model and config.llm.tools:
        box = await pool.run(lambda: ToolBox(intents), kind="load.tools")
    return Mind(config, intents, matcher, judge, box)


def fixed_texts(intents: IntentSet) -> FixedTexts:
    """Return what is said where neither an intent nor a model answers."""
    answers = Answers(intents.responses)
    return FixedTexts(
        no_model=answers.say("no_model", {}),
        not_understood=answers.say("not_understood", {}),
        too_strained=answers.say("too_strained", {}),
        model_is_loading=answers.say("model_is_loading", {}),
    )


async def perform(station: Station, actor: Actor, match: IntentMatch) -> Reply:
    """Carry out a call; what touches hardware on a pool, so that it can be given up where that hangs."""
    if actor.touches_devices(match.intent):
        return await station.run(partial(actor.perform, match), kind="tool.call")
    return actor.perform(match)
