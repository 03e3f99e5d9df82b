"""Makes the steps of a field test, one after the other, whatever becomes of the others."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent import __version__
from edge_agent.app.doctor.board import check_board, check_cores, check_memory, check_python, check_system
from edge_agent.app.doctor.places import places_of
from edge_agent.app.doctor.result import UNIT, Surroundings
from edge_agent.app.field.command_steps import try_commands, try_wake_word
from edge_agent.app.field.load_step import try_load
from edge_agent.app.field.phrases import Phrase, phrases_for, read_phrases
from edge_agent.app.field.pin_steps import try_button, try_light
from edge_agent.app.field.report import FieldReport
from edge_agent.app.field.session import field_config, open_agent
from edge_agent.app.field.sound_steps import try_echo, try_microphone, try_speaker
from edge_agent.app.field.speaking import PersonsVoice, PlayedVoice, Voice, read_sound, render
from edge_agent.app.field.speed_steps import try_llm, try_tts
from edge_agent.app.field.step import STEPS, StepResult
from edge_agent.app.publishing import make_topics
from edge_agent.app.tune.stored import tune_file
from edge_agent.errors import BadInputError, EdgeAgentError
from edge_agent.runtime.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.app.agent import Agent
    from edge_agent.app.doctor.result import CheckResult
    from edge_agent.app.field.load_step import Sample
    from edge_agent.app.field.session import Watcher
    from edge_agent.app.field.step import Person, Plan
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config

_POOL_THREADS = 2


class ServiceHoldsError(BadInputError):
    """The service has the devices that the field test needs."""

    def __init__(self, *, by_systemd: bool) -> None:
        stop = f"sudo systemctl stop {UNIT}" if by_systemd else "end `edge-agent run`"
        again = f"; start it again afterwards: sudo systemctl start {UNIT}" if by_systemd else ""
        super().__init__(f"the service runs and holds microphone, speaker and pins; first: {stop}{again}")


class FieldTest:
    """One field test. Belongs to the loop.

    Args:
        config: The device's.
        plan: What is to be done.
        person: Who is beside it.
        around: The machine.
        on_begin: Is told each step's name when it begins.
        on_result: Is told how it went.
        on_sample: Is told of the machine during the load.
    """

    def __init__(
        self,
        config: Config,
        plan: Plan,
        person: Person,
        around: Surroundings | None = None,
        *,
        on_begin: Callable[[str], None] = lambda _: None,
        on_result: Callable[[StepResult], None] = lambda _: None,
        on_sample: Callable[[Sample], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._person = person
        self._around = around or Surroundings()
        self._on_begin, self._on_result, self._on_sample = on_begin, on_result, on_sample
        self._steps: list[StepResult] = []
        self._began_at = datetime.now(UTC)

    async def run(self) -> FieldReport:
        """Make the steps and return what came of them.

        Raises:
            ServiceHoldsError: The service runs.
            AudioFileError: A recording can't be read.
        """
        pool = Pool("field", most_workers=_POOL_THREADS)
        try:
            await pool.run(self._look_for_service, kind="field.service")
            phrases = await pool.run(self._phrases, kind="field.phrases")
            with tempfile.TemporaryDirectory(prefix="edge-agent-field-") as scratch:
                places = await pool.run(lambda: self._places(Path(scratch)), kind="field.places")
                await self._make_steps(pool, places, phrases, Path(scratch))
            machine = await pool.run(self._machine, kind="field.machine")
        finally:
            await pool.close()
        return FieldReport(
            device_id=make_topics(self._config).device_id,
            version=__version__,
            machine=machine,
            began_at=self._began_at,
            ended_at=datetime.now(UTC),
            is_unattended=not self._person.is_there,
            is_whole=not self._plan.only or set(self._plan.only) == set(STEPS),
            steps=tuple(self._steps),
        )

    def _places(self, scratch: Path) -> Places:
        """Return the service's places, but for a cache of somebody else's: what root left there it could not renew."""
        places = places_of(self._config, self._around.root)
        is_foreign = places.cache.is_dir() and places.cache.stat().st_uid != os.geteuid()
        return replace(places, cache=scratch / "cache") if is_foreign else places

    async def _make_steps(self, pool: Pool, places: Places, phrases: tuple[Phrase, ...], scratch: Path) -> None:
        config, person, plan = self._config, self._person, self._plan
        await self._step("microphone", lambda: try_microphone(config.audio, person, pool))
        await self._step("speaker", lambda: try_speaker(config.audio, person, pool))
        await self._step("echo", lambda: try_echo(config.audio))
        await self._step("button", lambda: try_button(config.gpio, person, pool, plan.patience_s))
        await self._step("light", lambda: try_light(config.gpio, person, pool))
        if any(self._is_wanted(name) for name in ("commands", "wake_word", "load")):
            await self._with_agent(pool, places, phrases, scratch / "state")
        await self._step("tts", lambda: try_tts(config, places))
        await self._step("llm", lambda: try_llm(config, places))

    async def _with_agent(self, pool: Pool, places: Places, phrases: tuple[Phrase, ...], state: Path) -> None:
        """Make the steps that need the whole agent; where it does not come up, that is why each of them fails."""
        names = [name for name in ("commands", "wake_word", "load") if self._is_wanted(name)]
        async with AsyncExitStack() as stack:
            await pool.run(partial(_hand_on_plan, places.state, state), kind="field.plan")
            heard = field_config(self._config, places, state, "always")
            self._on_begin("agent")
            try:
                agent, watcher = await stack.enter_async_context(open_agent(heard))
            except EdgeAgentError as error:
                for name in names:
                    self._note(StepResult(name, "fail", str(error).replace("\n", "; ")))
                return
            await self._step("commands", lambda: self._commands(agent, watcher, pool, places, phrases))
            await self._step("wake_word", lambda: self._wake_word(agent, watcher, pool, places, state))
            minutes, on_sample = self._plan.minutes, self._on_sample
            await self._step("load", lambda: try_load(agent, watcher, pool, minutes, on_sample))

    async def _commands(
        self, agent: Agent, watcher: Watcher, pool: Pool, places: Places, phrases: tuple[Phrase, ...]
    ) -> StepResult:
        if not phrases:
            reason = f"there are none for language {self._config.language!r}; record some, and name --recordings"
            return StepResult("commands", "skipped", reason)
        voice: Voice
        if self._plan.recordings is None and self._person.is_there:
            voice = PersonsVoice(self._person, pool)
        else:
            voice = await self._played(pool, places, phrases)
        return await try_commands(agent, watcher, voice, phrases, self._plan.patience_s)

    async def _wake_word(self, agent: Agent, watcher: Watcher, pool: Pool, places: Places, state: Path) -> StepResult:
        activation, plan = self._config.activation, self._plan
        if activation.mode != "wake_word":
            return StepResult("wake_word", "skipped", f'activation.mode is "{activation.mode}"')
        recorded = [] if plan.recordings is None else await pool.run(self._wake_files, kind="field.files")
        words = activation.words[0].replace("_", " ")
        voice: Voice
        if recorded:
            phrases = tuple(Phrase(path.stem, None, path) for path in recorded)
            voice = await self._played(pool, places, phrases)
        elif self._person.is_there:
            phrases = tuple(Phrase(words, None) for _ in range(plan.wake_times))
            voice = PersonsVoice(self._person, pool)
        else:
            reason = "nobody is there to say it, and --recordings holds no wake/*.wav"
            return StepResult("wake_word", "skipped", reason)
        await agent.apply(field_config(self._config, places, state, "wake_word"))
        try:
            return await try_wake_word(agent, watcher, voice, phrases, plan.patience_s)
        finally:
            await agent.apply(field_config(self._config, places, state, "always"))

    async def _played(self, pool: Pool, places: Places, phrases: tuple[Phrase, ...]) -> PlayedVoice:
        sounds = {
            phrase.text: await read_sound(phrase.recording, pool) for phrase in phrases if phrase.recording is not None
        }
        name = "recordings"
        if missing := [phrase.text for phrase in phrases if phrase.recording is None]:
            sounds |= await render(self._config, places, missing)
            name = "the device's own voice"
        audio = self._config.audio
        speaker = audio.output_device if self._plan.play_to is None else self._plan.play_to
        return PlayedVoice(sounds, speaker, audio.volume, name)

    async def _step(self, name: str, step: Callable[[], Awaitable[StepResult]]) -> None:
        """Make a step, if it is wanted; what it raises on purpose is its failure."""
        if not self._is_wanted(name):
            return
        self._on_begin(name)
        began_s = time.monotonic()
        try:
            result = await step()
        except EdgeAgentError as error:
            result = StepResult(name, "fail", str(error).replace("\n", "; "))
        self._note(replace(result, took_s=round(time.monotonic() - began_s, 1)))

    def _note(self, result: StepResult) -> None:
        self._steps.append(result)
        self._on_result(result)

    def _is_wanted(self, name: str) -> bool:
        return not self._plan.only or name in self._plan.only

    def _look_for_service(self) -> None:
        active = (self._around.unit or {}).get("ActiveState") in {"active", "activating", "reloading"}
        if active or self._around.status is not None:
            raise ServiceHoldsError(by_systemd=active)

    def _phrases(self) -> tuple[Phrase, ...]:
        if not self._is_wanted("commands"):
            return ()
        if self._plan.recordings is not None:
            return read_phrases(self._plan.recordings)
        return phrases_for(self._config.language)

    def _wake_files(self) -> list[Path]:
        return [] if self._plan.recordings is None else sorted((self._plan.recordings / "wake").glob("*.wav"))

    def _machine(self) -> dict[str, str]:
        checks: dict[str, Callable[[], CheckResult]] = {
            "board": partial(check_board, self._around),
            "system": partial(check_system, self._around),
            "python": check_python,
            "cores": partial(check_cores, self._around),
            "memory": partial(check_memory, self._around),
        }
        return {name: check().message for name, check in checks.items()}


def _hand_on_plan(own: Path, state: Path) -> None:
    """Let the agent under test share the cores as the service would."""
    state.mkdir()
    with suppress(OSError):  # there is none, or it is kept from us: then the rule of thumb holds
        tune_file(state).write_bytes(tune_file(own).read_bytes())
