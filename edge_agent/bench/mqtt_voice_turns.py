"""Turns of the real pipeline in its room, with the service's own link, outbox and telling beside it."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.publishing import make_outbox
from edge_agent.bench.conversation_rig import changed, is_intent_turn, open_rig
from edge_agent.bench.conversation_speech import commands
from edge_agent.bench.conversation_turns import first_audio_ms
from edge_agent.config.audio import OutputConfig
from edge_agent.config.schema import Config
from edge_agent.errors import EngineError
from edge_agent.mqtt.link import BrokerLink
from edge_agent.mqtt.telling import Telling
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from edge_agent.bench.mqtt_voice import Turns
    from edge_agent.bench.pause_speech import Clip
    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.pipeline.observer import Observer

_SPEED = 4.0
"""Of what is played: only what comes before the first sample matters."""
_METRICS_EVERY_S = 1.0
"""Far oftener than anybody wants them, so that there is something to send in every turn."""
_TOPICS = Topics("bench")


@asynccontextmanager
async def open_turns(count: int) -> AsyncIterator[Turns]:
    """Return what holds `count` turns of the embedded default with a configuration of MQTT."""
    making = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="bench-")
    directory = Path(making.name)
    try:
        config = await asyncio.to_thread(_configured, directory)
        clips = await asyncio.to_thread(commands, config, None, directory)

        async def turns(mqtt: MqttConfig) -> list[float]:
            return await _hold(config.model_copy(update={"mqtt": mqtt}), clips, count)

        yield turns
    finally:
        await asyncio.to_thread(making.cleanup)


def _configured(directory: Path) -> Config:
    for name in ("cache", "models", "state"):
        (directory / name).mkdir()
    places: dict[str, object] = {name: directory / name for name in ("cache", "models", "state")}
    config = changed(Config(), directories=places, asr={"engine": "pocketsphinx"})
    return config.model_copy(
        update={
            "gpio": config.gpio.model_copy(update={"driver": "simulated", "outputs": {"lamp": OutputConfig(pin=17)}})
        }
    )


async def _hold(config: Config, clips: list[Clip], count: int) -> list[float]:
    exchanges = []
    async with AsyncExitStack() as stack:
        watching = await stack.enter_async_context(_telling(config)) if config.mqtt.host else None
        rig = await stack.enter_async_context(open_rig(config, speed=_SPEED, watching=watching))
        for number in range(count):
            exchange = await rig.ask(clips[number % len(clips)])
            if exchange is not None and is_intent_turn(exchange):
                exchanges.append(exchange)
    if not exchanges:
        raise EngineError("conversation", "no command was understood")
    return first_audio_ms(exchanges)


@asynccontextmanager
async def _telling(config: Config) -> AsyncIterator[Observer]:
    """Tell a broker of all that happens, as the service does."""
    async with AsyncExitStack() as stack:
        pool = Pool("state", most_workers=3)
        stack.push_async_callback(pool.close)
        link = BrokerLink(config.mqtt, _TOPICS, pool)
        place = await asyncio.to_thread(tempfile.mkdtemp, prefix="state-", dir=config.directories.state)
        database = await stack.enter_async_context(Database(Path(place) / "edge-agent.db", pool))
        outbox = make_outbox(config.mqtt, link, _TOPICS, database, lambda _: None)

        def describe() -> Mapping[str, object]:
            return {"state": "idle", "link": link.state.connects, "outbox": outbox.counts.waiting}

        telling = Telling(
            link,
            _TOPICS,
            outbox,
            describe=describe,
            report=describe,
            publish_text=True,
            metrics_every_s=_METRICS_EVERY_S,
        )
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for name, loop in (("link", link.run_loop), ("outbox", outbox.run_loop), ("telling", telling.run_loop)):
            stack.callback(tasks.create_task(loop(), name=f"bench.{name}").cancel)
        yield telling
