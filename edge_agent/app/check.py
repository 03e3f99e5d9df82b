"""What `config check` finds beyond the schema: files that are named and absent, intents that do not load."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError, ConfigProblem, IntentsFileError

if TYPE_CHECKING:
    from edge_agent.config.schema import Config


def check_files(config: Config, source: str) -> None:
    """Check the files that a valid configuration names.

    Raises:
        ConfigError: Holds every problem found.
    """
    from edge_agent.app.build import build_intents

    named = {
        "asr.vosk.model": config.asr.vosk.model,
        "llm.model": config.llm.model,
        "tts.piper.voice": config.tts.piper.voice,
        "mqtt.password_file": config.mqtt.password_file,
    }
    problems = [
        ConfigProblem(key, f"{path} does not exist", source)
        for key, path in named.items()
        if path is not None and not path.exists()
    ]
    try:
        build_intents(config)
    except IntentsFileError as error:
        problems.append(ConfigProblem("intents.paths", str(error), source))
    except ConfigError as error:
        problems += [replace(problem, source=source) for problem in error.problems]
    if problems:
        raise ConfigError(problems)
