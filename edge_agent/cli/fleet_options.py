"""Options that all commands of `edge-agent fleet` share: the broker, and how long to wait."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.mqtt import MqttConfig

_ENVIRONMENT = "EDGE_AGENT_FLEET_"


@dataclass(frozen=True, slots=True)
class Access:
    """How an operator reaches the broker.

    Attributes:
        timeout_s: As it was given; None: each command's own.
    """

    mqtt: MqttConfig
    timeout_s: float | None

    def timeout(self, otherwise_s: float) -> float:
        """Return the seconds to wait."""
        return otherwise_s if self.timeout_s is None else self.timeout_s


class _Converted(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """A value that one of our functions reads; what it refuses is bad usage of that option."""

    def __init__(self, name: str, convert: Callable[[str], Any]) -> None:
        self.name = name
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        if not isinstance(value, str):
            return value
        try:
            return self._convert(value)
        except EdgeAgentError as error:
            self.fail(str(error), param, ctx)


def _duration(text: str) -> float:
    from edge_agent.fleet.durations import duration_s

    return duration_s(text)


def _share(text: str) -> Any:  # noqa: ANN401 - a class that is imported later
    from edge_agent.fleet.canaries import Share

    return Share.parse(text)


DURATION = _Converted("duration", _duration)
SHARE = _Converted("share", _share)


def access_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, and `access` for an argument."""

    @functools.wraps(command)
    def with_access(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the command takes
        given = {name: kwargs.pop(name) for name in _NAMES}
        timeout_s = kwargs.pop("timeout_s")
        return command(*args, access=Access(_mqtt(**given), timeout_s), **kwargs)

    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        _option("--broker", metavar="HOST[:PORT]", help="Broker; default: the configuration's mqtt.host."),
        _option("--user", metavar="NAME", help="User name there."),
        _option("--password-file", type=_FILE, metavar="FILE", help="File of mode 0600 with the password."),
        _option(
            "--tls", is_flag=True, help="Encrypt; the broker's certificate is checked by the system's authorities."
        ),
        _option("--ca", type=_FILE, metavar="FILE", help="Encrypt; authority that signed the broker's certificate."),
        _option("--cert", type=_FILE, metavar="FILE", help="Certificate to show."),
        _option("--key", type=_FILE, metavar="FILE", help="Its key, mode 0600."),
        _option(
            "--config", "config_file", type=_FILE, metavar="FILE", help="Configuration whose [mqtt] is the default."
        ),
        click.option(
            "--timeout", "timeout_s", type=DURATION, metavar="TIME", help="How long to wait, such as 30s or 5m."
        ),
    ]
    decorated: Callable[..., Any] = with_access
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


_FILE: click.Path = click.Path(path_type=Path)
_NAMES = ("broker", "user", "password_file", "tls", "ca", "cert", "key", "config_file")


def _option(name: str, *names: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: ANN401
    variable = _ENVIRONMENT + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *names, envvar=variable, show_envvar=True, **settings)


def _mqtt(
    *,
    broker: str | None,
    user: str | None,
    password_file: Path | None,
    tls: bool,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    config_file: Path | None,
) -> MqttConfig:
    """Put file and options together.

    A broker that is named does not get what the machine's own configuration has for another one: only a file that is
    named too counts then.
    """
    from edge_agent.config.load import load_config
    from edge_agent.config.mqtt import MqttConfig

    environ = {name: value for name, value in os.environ.items() if not name.startswith(_ENVIRONMENT)}
    config = MqttConfig() if broker and config_file is None else load_config(config_file, environ).mqtt
    changes = config.model_dump()
    if broker:
        changes["host"], changes["port"] = _host_and_port(broker)
    if user is not None:
        changes["username"] = user
    if password_file is not None:
        changes["password_file"] = password_file
    encryption = changes["tls"]
    encryption["enabled"] = config.tls.enabled or tls or bool(ca or cert or key)
    for setting, path in (("ca_file", ca), ("certificate_file", cert), ("key_file", key)):
        if path is not None:
            encryption[setting] = path
    if (encryption["certificate_file"] is None) != (encryption["key_file"] is None):
        raise click.UsageError("--cert and --key need each other")
    return MqttConfig.model_validate(changes, context={"base_dir": Path.cwd()})


def _host_and_port(broker: str) -> tuple[str, int | None]:
    host, colon, port = broker.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = broker, ""
    host = host.removeprefix("[").removesuffix("]")
    if not host or (port and not port.isdecimal()) or (port and not 0 < int(port) < 1 << 16):
        raise click.BadParameter(f"{broker!r} is not HOST or HOST:PORT", param_hint="--broker")
    return host, int(port) if port else None
