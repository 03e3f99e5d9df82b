"""The questions in their order, each with what is configured already as its default."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.app.setup.answers import (
    WAKE_WORDS,
    Answers,
    Broker,
    Mode,
    broker_of,
    parse_groups,
    parse_language,
    parse_name,
    parse_pin,
    parse_words,
)
from edge_agent.app.setup.broker_address import NO_BROKER, PORT, TLS_PORT, BrokerAddress, parse_broker
from edge_agent.app.setup.errors import BadAnswerError
from edge_agent.app.setup.languages import about_language, require_hearing
from edge_agent.app.setup.person import ask_until
from edge_agent.mqtt.identity import default_device_id

if TYPE_CHECKING:
    from edge_agent.app.places import Places
    from edge_agent.app.setup.person import Person
    from edge_agent.app.setup.sound_questions import SoundQuestions
    from edge_agent.config.schema import Config

_MODE_TEXTS: dict[Mode, str] = {
    "always": "always: whatever is said in the room",
    "wake_word": "wake word: what follows one, such as okay_nabu",
    "button": "button: what is said after a push of a button",
}


@dataclass(frozen=True, slots=True)
class Interview:
    """One person's way through the questions; what `given` answers already is not asked.

    Attributes:
        config: What is configured, the defaults of the questions.
        has_password: A password for the broker is in place.
    """

    person: Person
    config: Config
    places: Places
    sound: SoundQuestions
    has_password: bool

    def hold(self, given: Answers) -> Answers:
        """Return all answers, those of `given` too."""
        answers = self._sound(given)
        answers = self._understanding(answers)
        answers = self.broker(answers)
        return self._identity(answers)

    def _sound(self, answers: Answers) -> Answers:
        audio = self.config.audio
        if answers.microphone is None:
            answers = replace(answers, microphone=self.sound.microphone(audio.input_device))
        if answers.speaker is None or answers.volume is None:
            speaker = audio.output_device if answers.speaker is None else answers.speaker
            volume = audio.volume if answers.volume is None else answers.volume
            speaker, volume = self.sound.speaker(speaker, volume)
            answers = replace(answers, speaker=speaker, volume=volume)
        return answers

    def _understanding(self, answers: Answers) -> Answers:
        person, config = self.person, self.config
        if answers.language is None:
            person.head("Language")
            language = ask_until(person, "Language (en, de, zh, ...)", config.language, self._parse_language)
            answers = replace(answers, language=language)
            for note in about_language(config, language, self.places):
                (person.warn if note.needs_doing else person.tell)(note.text)
        if answers.mode is None and answers.words is None and answers.button_pin is None:
            person.head("What it listens to")
            modes = list(_MODE_TEXTS)
            at = modes.index(config.activation.mode)
            mode = modes[person.pick("When does it listen?", list(_MODE_TEXTS.values()), at)]
            answers = replace(answers, mode=mode)
            if mode == "wake_word":
                person.tell(f"There are: {', '.join(WAKE_WORDS)}.")
                asked = "Wake words, with commas between"
                words = ask_until(person, asked, ",".join(config.activation.words), parse_words)
                answers = replace(answers, words=words)
        pin = None if config.gpio.button is None else config.gpio.button.pin
        if answers.mode == "button" and answers.button_pin is None and pin is None:
            asked = "The button's pin, by its BCM number (the other wire goes to ground)"
            answers = replace(answers, button_pin=ask_until(person, asked, "17", parse_pin))
        return answers

    def _parse_language(self, text: str) -> str:
        language = parse_language(text)
        require_hearing(self.config, language, self.places)
        return language

    def broker(self, answers: Answers) -> Answers:
        """Ask for the broker, and who the device is to it."""
        if answers.broker is not None:
            return answers
        person, current = self.person, broker_of(self.config)
        person.head("MQTT broker")
        person.tell(f"Through it the device is watched and configured. Without one: {NO_BROKER}.")
        now = BrokerAddress(current.host, current.port, current.tls)
        address = ask_until(person, "Broker", str(now), parse_broker)
        if not address.host:
            return replace(answers, broker=Broker())
        is_same = address.host == current.host
        tls = address.tls
        if tls is None:
            tls = person.confirm("Encrypt with TLS?", default=current.tls if is_same else False)
        port = address.port
        if port is None:
            usual = TLS_PORT if tls else PORT
            known = current.port if is_same and current.port and tls == current.tls else usual
            port = ask_until(person, "Port", str(known), _parse_port)
        ca_file = self._authority() if tls else None
        username = address.username
        if username is None:
            known_user = current.username if is_same else ""
            username = ask_until(person, "User name (none: anonymous)", known_user or NO_BROKER, _parse_user)
        broker = Broker(address.host, port, tls, username, ca_file)
        return replace(answers, broker=broker, password=self._password(answers, username))

    def _authority(self) -> str | None:
        known = self.config.mqtt.tls.ca_file
        asked = "File of the authority that signed its certificate (system: the system's)"
        text = ask_until(self.person, asked, "system" if known is None else str(known), parse_authority)
        return None if known is not None and text == str(known) else text

    def _password(self, answers: Answers, username: str) -> str | None:
        if answers.password is not None:
            return answers.password
        if not username:
            return "" if self.has_password else None
        hint = "Enter keeps the present one" if self.has_password else "Enter: none"
        typed = self.person.secret(f"Password, not shown ({hint})")
        return typed or None

    def _identity(self, answers: Answers) -> Answers:
        person, config = self.person, self.config
        if answers.device_id is not None and answers.groups is not None:
            return answers
        person.head("Name")
        if answers.device_id is None:
            known = config.device_id or default_device_id()
            name = ask_until(person, "Name of this device", known, parse_name)
            # A name that was made of the board is not written down: a copied card would give it to another board.
            answers = replace(answers, device_id=config.device_id if name == known else name)
        if answers.groups is None:
            known = ",".join(config.groups) or "none"
            answers = replace(answers, groups=ask_until(person, "Groups, with commas between", known, parse_groups))
        return answers


def as_broker(address: BrokerAddress, config: Config, ca_file: str | None) -> Broker:
    """Return the broker that an address means, given by a flag: what it does not say is as configured, or usual."""
    if not address.host:
        return Broker()
    current = broker_of(config)
    is_same = address.host == current.host
    tls = address.tls if address.tls is not None else (current.tls if is_same else False)
    port = address.port if address.port is not None else (current.port if is_same and tls == current.tls else None)
    username = address.username if address.username is not None else (current.username if is_same else "")
    return Broker(address.host, port, tls, username, ca_file)


def _parse_port(text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= 65_535:  # noqa: PLR2004 - the largest port
        raise BadAnswerError("a port is a number from 1 to 65535")
    return int(text)


def _parse_user(text: str) -> str:
    text = text.strip()
    return "" if text.casefold() == NO_BROKER else text


def parse_authority(text: str) -> str:
    """Return the absolute path of an authority's file; empty for the system's authorities.

    Raises:
        BadAnswerError: There is no such file, or no authority's certificate in it.
    """
    from pathlib import Path

    from edge_agent.config.mqtt import MqttTlsConfig
    from edge_agent.errors import ConfigError
    from edge_agent.mqtt.tls import load_context

    text = text.strip()
    if text.casefold() in {"", "system"}:
        return ""
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise BadAnswerError(f"{path} is no file")
    try:
        load_context(MqttTlsConfig(ca_file=path))
    except ConfigError as error:
        raise BadAnswerError(f"{path} {error.problems[0].message}") from error
    return str(path)
