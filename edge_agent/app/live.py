"""`run`: the service. Microphone, speaker, button, light and timers around a conversation that outlives their faults."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from edge_agent.app.brain import open_brain
from edge_agent.app.lanes import open_lanes
from edge_agent.app.places import find_places
from edge_agent.app.publishing import open_publisher
from edge_agent.app.voice import open_voice
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.portaudio import refresh_devices
from edge_agent.devices.speaker import Speaker
from edge_agent.errors import DeviceError, UnknownDeviceError
from edge_agent.pipeline.observer import Observer, Observers
from edge_agent.pipeline.turn import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.app.brain import Brain
    from edge_agent.app.voice import Voice
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.speak.sink import AudioSink

_log = logging.getLogger(__name__)

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
SHUTDOWN_S = 5
"""From SIGTERM to exit at the most."""
