"""What was answered, and which keys of the configuration that means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from edge_agent.app.setup.broker_address import PORT, TLS_PORT
from edge_agent.app.setup.errors import BadAnswerError
from edge_agent.config.audio import WakeWord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.merge import Keys
    from edge_agent.config.schema import Config

Mode = Literal["always", "button", "wake_word"]
MODES: tuple[Mode, ...] = get_args(Mode)
WAKE_WORDS: tuple[WakeWord, ...] = get_args(WakeWord)
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_GROUPS = 16
_MOST_PERCENT = 100
_MOST_PIN = 53


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker and how to reach it; `host` empty: none.

    Attributes:
        ca_file: None: as it is; empty: the system's authorities.
    """

    host: str = ""
    port: int | None = None
    tls: bool = False
    username: str = ""
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered; None: it stays as it is.

    Attributes:
        password: For the broker; empty: there is none any more.
    """

    microphone: str | None = None
    speaker: str | None = None
    volume: int | None = None
    language: str | None = None
    mode: Mode | None = None
    words: tuple[WakeWord, ...] | None = None
    button_pin: int | None = None
    broker: Broker | None = None
    password: str | None = field(default=None, repr=False)
    device_id: str | None = None
    groups: tuple[str, ...] | None = None

    def changes(self) -> dict[Keys, Any]:
        """Return the value of each key that was answered; None takes a key out. The password is in none of them."""
        found: dict[Keys, Any] = {
            ("language",): self.language,
            ("device_id",): self.device_id,
            ("groups",): None if self.groups is None else list(self.groups),
            ("audio", "input_device"): self.microphone,
            ("audio", "output_device"): self.speaker,
            ("audio", "volume"): self.volume,
            ("activation", "mode"): self.mode,
            ("activation", "words"): None if self.words is None else list(self.words),
            ("gpio", "button", "pin"): self.button_pin,
        }
        answered = {keys: value for keys, value in found.items() if value is not None}
        return answered | (_broker_changes(self.broker) if self.broker is not None else {})


def _broker_changes(broker: Broker) -> dict[Keys, Any]:
    if not broker.host:
        return {("mqtt", "host"): ""}
    usual = TLS_PORT if broker.tls else PORT
    found: dict[Keys, Any] = {
        ("mqtt", "host"): broker.host,
        ("mqtt", "port"): None if broker.port in {None, usual} else broker.port,
        ("mqtt", "username"): broker.username,
        ("mqtt", "tls", "enabled"): broker.tls,
    }
    if broker.ca_file is not None:
        found["mqtt", "tls", "ca_file"] = broker.ca_file or None
    return found


def broker_of(config: Config) -> Broker:
    """Return the broker that is configured."""
    mqtt = config.mqtt
    return Broker(mqtt.host, mqtt.port, mqtt.tls.enabled, mqtt.username)


def parse_volume(text: str) -> int:
    """Return a volume in per cent.

    Raises:
        BadAnswerError: It is none.
    """
    digits = text.strip().removesuffix("%").strip()
    if not digits.isdecimal() or int(digits) > _MOST_PERCENT:
        raise BadAnswerError("a volume is a number from 0 to 100")
    return int(digits)


def parse_language(text: str) -> str:
    """Return a language's code.

    Raises:
        BadAnswerError: It is none.
    """
    code = text.strip().casefold()
    if not _LANGUAGE.fullmatch(code):
        raise BadAnswerError("a language is its ISO 639 code of two or three letters, such as en, de or zh")
    return code


def parse_words(text: str) -> tuple[WakeWord, ...]:
    """Return wake words, which commas or spaces part.

    Raises:
        BadAnswerError: There is none, or one that there is no model for.
    """
    named = [word.casefold() for word in re.split(r"[,\s]+", text.strip()) if word]
    unknown = [word for word in named if word not in WAKE_WORDS]
    if unknown or not named:
        wrong = f"{unknown[0][:40]!r} is not one of" if unknown else "name one or more of"
        raise BadAnswerError(f"{wrong} the wake words: {', '.join(WAKE_WORDS)}")
    return tuple(dict.fromkeys(word for word in WAKE_WORDS if word in named))


def parse_pin(text: str) -> int:
    """Return the BCM number of a pin.

    Raises:
        BadAnswerError: It is none.
    """
    if not text.strip().isdecimal() or int(text) > _MOST_PIN:
        raise BadAnswerError(f"a pin is its BCM number from 0 to {_MOST_PIN}, such as 17")
    return int(text)


def parse_name(text: str) -> str:
    """Return a device's name.

    Raises:
        BadAnswerError: It can't be one.
    """
    if not _NAME.fullmatch(text.strip()):
        raise BadAnswerError("a name has letters, digits, _ and -, 64 at most, such as kitchen")
    return text.strip()


def parse_groups(text: str) -> tuple[str, ...]:
    """Return groups, which commas or spaces part; none for nothing, or `none`.

    Raises:
        BadAnswerError: One can't be a group, or there are too many.
    """
    if text.strip().casefold() in {"", "none"}:
        return ()
    groups = tuple(dict.fromkeys(name for name in re.split(r"[,\s]+", text.strip()) if name))
    if any(name.casefold() == "none" for name in groups):
        raise BadAnswerError("none means no group, and stands alone")
    if len(groups) > _MOST_GROUPS or not all(_NAME.fullmatch(name) for name in groups):
        raise BadAnswerError(
            f"groups are {_MOST_GROUPS} names at most, of letters, digits, _ and -, with commas between"
        )
    return groups


def flag_conflict(given: Mapping[str, object]) -> str:
    """Return which flags exclude each other, by the names of `Answers` and of the flags; empty: none do.

    Args:
        given: `mode`, `words`, `button_pin`, `broker` (a `BrokerAddress`), `has_password`, `ca_file`; None where not
            given.
    """
    mode, broker = given.get("mode"), given.get("broker")
    if given.get("words") is not None and mode not in {None, "wake_word"}:
        return f"--wake-word needs --mode wake_word, not {mode}"
    if given.get("button_pin") is not None and mode not in {None, "button"}:
        return f"--button-pin needs --mode button, not {mode}"
    host = getattr(broker, "host", None)
    if host == "" and (given.get("has_password") or given.get("ca_file") is not None):
        return "--password-file and --ca need a broker, not --broker none"
    if given.get("ca_file") is not None and getattr(broker, "tls", None) is False:
        return "--ca is for TLS: write --broker mqtts://…"
    return ""
