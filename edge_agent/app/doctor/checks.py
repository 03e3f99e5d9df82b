"""All checks, in the order in which they are made: what the rest stands on first, sound last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.app.doctor.account import check_user
from edge_agent.app.doctor.board import (
    check_board,
    check_cores,
    check_memory,
    check_power,
    check_python,
    check_system,
    check_temperature,
    check_throttling,
)
from edge_agent.app.doctor.broker import CHECK_S, check_broker
from edge_agent.app.doctor.clock import check_clock
from edge_agent.app.doctor.desktop import check_desktop_audio
from edge_agent.app.doctor.echo_cancelling import check_echo_cancellation
from edge_agent.app.doctor.examining import USUAL_S, NamedCheck
from edge_agent.app.doctor.installed import check_models, check_plan
from edge_agent.app.doctor.pins import check_gpio
from edge_agent.app.doctor.result import Surroundings
from edge_agent.app.doctor.sound import check_echo_path, check_microphone, check_sample_rates, check_speaker
from edge_agent.app.doctor.storage import check_card, check_disk
from edge_agent.app.doctor.unit import check_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.doctor.result import CheckResult
    from edge_agent.config.schema import Config

_SOUND_S = 20.0


def make_checks(around: Surroundings | None = None, *, sound: bool = True) -> tuple[NamedCheck, ...]:
    """Return all checks of a machine; without `sound` none that opens a microphone or a speaker."""
    around = around or Surroundings()

    def alone(name: str, look: Callable[[Surroundings], CheckResult]) -> NamedCheck:
        return NamedCheck(name, lambda _: look(around))

    def with_config(
        name: str, look: Callable[[Config, Surroundings], CheckResult], within_s: float = USUAL_S
    ) -> NamedCheck:
        return NamedCheck(name, lambda config: look(config, around), within_s)

    checks = (
        alone("board", check_board),
        alone("system", check_system),
        alone("python", lambda _: check_python()),
        alone("cores", check_cores),
        alone("memory", check_memory),
        with_config("temperature", check_temperature),
        alone("throttling", check_throttling),
        alone("power", check_power),
        with_config("disk", check_disk),
        alone("card", check_card),
        alone("clock", check_clock),
        alone("unit", check_unit),
        with_config("user", check_user),
        alone("desktop_audio", check_desktop_audio),
        with_config("models", check_models),
        with_config("plan", check_plan),
        with_config("gpio", check_gpio),
        with_config("broker", check_broker, CHECK_S),
    )
    if not sound:
        return checks
    return (
        *checks,
        with_config("sample_rates", check_sample_rates, _SOUND_S),
        with_config("microphone", check_microphone, _SOUND_S + around.listen_s),
        with_config("speaker", check_speaker, _SOUND_S),
        with_config("echo_path", check_echo_path, _SOUND_S),
        NamedCheck("echo_cancellation", check_echo_cancellation, _SOUND_S),
    )
