"""Configuration of hearing and speaking hardware: audio devices and GPIO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from edge_agent.config.section import ConfigPath, Section

if TYPE_CHECKING:
    from collections.abc import Iterator


class AudioConfig(Section):
    """Sound card and volume."""

    input_device: str = Field(
        "",
        description="Name of the microphone from `edge-agent devices`, best the one that stays when numbers change, as "
        "`hw:CARD=Device`; or part of a name; empty for the default.",
    )
    output_device: str = Field(
        "",
        description="Name of the speaker from `edge-agent devices`, best the one that stays when numbers change, as "
        "`hw:CARD=Headphones`; or part of a name; empty for the default.",
    )
    volume: int = Field(80, ge=0, le=100, description="Speaking volume in per cent at start.")
    earcons: bool = Field(
        default=True, description="Short tones: listening after the wake word or button, heard nothing, failed."
    )


Pin = Annotated[int, Field(ge=0, le=53)]


class OutputConfig(Section):
    """A pin that can be switched by voice."""

    pin: int = Field(ge=0, le=53, description="BCM number of the pin.")
    active_high: bool = Field(default=True, description="True where the pin's high level switches the thing on.")
    initial: bool = Field(default=False, description="State at start.")
    aliases: tuple[str, ...] = Field((), description="Other names it can be called by.")


class ButtonConfig(Section):
    """A push button between a pin and ground."""

    pin: int = Field(ge=0, le=53, description="BCM number of the pin.")
    hold_s: float = Field(2.0, gt=0, le=10, description="Held this long in silence, the button mutes or unmutes.")
    bounce_s: float = Field(0.05, ge=0, le=0.5, description="Contact bounce that is ignored.")


class LightConfig(Section):
    """A light that shows the agent's state: one LED, or a red, green and blue one."""

    pin: int | None = Field(None, ge=0, le=53, description="BCM number of a single LED's pin.")
    rgb_pins: tuple[Pin, Pin, Pin] | None = Field(None, description="BCM numbers of an RGB LED's pins.")

    @model_validator(mode="after")
    def _is_one_light(self) -> Self:
        if (self.pin is None) == (self.rgb_pins is None):
            raise PydanticCustomError("light", "a light needs either pin or rgb_pins")
        return self


class GpioConfig(Section):
    """Pins."""

    driver: Literal["auto", "lgpio", "simulated"] = Field(
        "auto",
        description="auto: real pins where there are any, none otherwise. simulated: pins that only remember their "
        "state, for trying things out on a machine without GPIO.",
    )
    button: ButtonConfig | None = Field(None, description="Push to talk; held, it mutes.")
    light: LightConfig | None = Field(None, description="State light.")
    outputs: dict[str, OutputConfig] = Field(
        default_factory=dict, description="Things to switch, by their spoken name, for example `lamp`."
    )

    @model_validator(mode="after")
    def _pins_have_one_user(self) -> Self:
        users: dict[int, str] = {}
        for key, pin in self._pins():
            if pin in users:
                raise PydanticCustomError(
                    "pin_used_twice",
                    "pin {pin} is used twice: by {first} and by {second}",
                    {"pin": pin, "first": users[pin], "second": key},
                )
            users[pin] = key
        return self

    def _pins(self) -> Iterator[tuple[str, int]]:
        if self.button is not None:
            yield "gpio.button.pin", self.button.pin
        if self.light is not None and self.light.pin is not None:
            yield "gpio.light.pin", self.light.pin
        if self.light is not None:
            yield from (("gpio.light.rgb_pins", pin) for pin in self.light.rgb_pins or ())
        yield from ((f"gpio.outputs.{name}.pin", output.pin) for name, output in self.outputs.items())


WakeWord = Literal["okay_nabu", "hey_jarvis", "hey_mycroft", "alexa"]


class ActivationConfig(Section):
    """What makes the agent listen."""

    mode: Literal["always", "button", "wake_word"] = Field(
        "always", description="always: every utterance is taken; button: push to talk; wake_word: after one of `words`."
    )
    words: tuple[WakeWord, ...] = Field(("okay_nabu",), min_length=1, description="Wake words, several at once.")
    sensitivity: dict[WakeWord, float] | float | None = Field(
        None,
        description="0 (strict) to 1 (eager), for all words or by word; unset: each model's own threshold.",
    )
    listen_s: float = Field(6.0, gt=0, le=60, description="Seconds to wait for speech after activation.")
    follow_up_s: float = Field(
        4.0,
        ge=0,
        le=60,
        description="Seconds after an answer in which one can go on without wake word or button; 0: none. "
        "Where the agent has asked something, it listens for `listen_s` in any case.",
    )

    @field_validator("sensitivity")
    @classmethod
    def _is_a_share(cls, sensitivity: dict[WakeWord, float] | float | None) -> dict[WakeWord, float] | float | None:
        values = sensitivity.values() if isinstance(sensitivity, dict) else [sensitivity]
        if any(value is not None and not 0 <= value <= 1 for value in values):
            raise PydanticCustomError("sensitivity", "sensitivity is from 0 (strict) to 1 (eager)")
        return sensitivity


class VadConfig(Section):
    """WebRTC voice activity detection."""

    aggressiveness: Literal[0, 1, 2, 3] = Field(2, description="0 lets most pass as speech, 3 the least.")


class EndpointConfig(Section):
    """Where an utterance begins and ends."""

    pre_roll_s: float = Field(0.3, ge=0, le=2, description="Audio kept from before the onset.")
    onset_s: float = Field(0.1, gt=0, le=1, description="Speech needed within the onset window to begin.")
    hang_over_s: float = Field(
        0.6, gt=0, le=5, description="Silence that ends an utterance; where `adaptive`, until pauses were learned."
    )
    adaptive: bool = Field(
        default=True,
        description="End a complete command sooner, wait longer for the rest of an unfinished sentence, and learn how "
        "long the speaker pauses; False: `hang_over_s` always.",
    )
    complete_s: float = Field(0.3, gt=0, le=5, description="Silence that ends a complete command.")
    unfinished_s: float = Field(1.2, gt=0, le=5, description="Silence that ends an unfinished sentence.")
    shortest_s: float = Field(0.45, gt=0, le=5, description="The learned silence is never shorter.")
    longest_s: float = Field(1.0, gt=0, le=5, description="The learned silence is never longer.")

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        for shorter, longer in (("shortest_s", "longest_s"), ("complete_s", "unfinished_s")):
            if getattr(self, shorter) > getattr(self, longer):
                raise PydanticCustomError(
                    "endpoint",
                    "{shorter} ({less}) must not be more than {longer} ({more})",
                    {
                        "shorter": shorter,
                        "longer": longer,
                        "less": getattr(self, shorter),
                        "more": getattr(self, longer),
                    },
                )
        return self

    min_speech_s: float = Field(0.2, ge=0, le=2, description="Utterances with less speech are dropped.")
    max_length_s: float = Field(12.0, gt=0.5, le=60, description="Utterances are cut at this length.")


class InterruptionConfig(Section):
    """What cuts off an answer that is being given."""

    by: Literal["nothing", "button", "wake_word", "stop_word", "speech"] = Field(
        "speech",
        description="Each with those before it. nothing: an answer is given to its end; button; wake_word: in that "
        "mode; stop_word: a sentence of the intent Stop; speech: whatever is said.",
    )
    onset_s: float = Field(0.08, gt=0, le=2, description="Speech needed within twice that time to pause the answer.")
    margin_db: float = Field(
        6.0, ge=0, le=40, description="How much louder than the expected echo of the answer a voice must be."
    )
    ignored: tuple[str, ...] | None = Field(
        None, description="Sounds of a listener, after which the answer goes on; unset: the language's own, as `mhm`."
    )

    @field_validator("ignored")
    @classmethod
    def _are_words(cls, ignored: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if ignored is not None and not all(text.strip() for text in ignored):
            raise PydanticCustomError("ignored", "a sound to ignore is written as words; leave the empty one out")
        return ignored


class DirectoriesConfig(Section):
    """Where things are kept."""

    models: ConfigPath | None = Field(
        None, description="Models that are found by themselves; unset: the platform's place."
    )
    cache: ConfigPath | None = Field(None, description="Caches; unset: the platform's place.")
    state: ConfigPath | None = Field(None, description="The database; unset: the platform's place.")
