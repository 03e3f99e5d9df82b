"""The whole configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from edge_agent.config.audio import (
    ActivationConfig,
    AudioConfig,
    DirectoriesConfig,
    EndpointConfig,
    GpioConfig,
    InterruptionConfig,
    VadConfig,
)
from edge_agent.config.engines import AsrConfig, IntentsConfig, LlmConfig, TtsConfig
from edge_agent.config.mqtt import HomeAssistantConfig, MqttConfig, PrivacyConfig, RemoteConfig
from edge_agent.config.running import CoresConfig, PhrasesConfig, PressureConfig, RecorderConfig, StoreConfig
from edge_agent.config.section import Section
from edge_agent.config.timers import TimersConfig

GroupName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""One level of a topic."""


class Config(Section):
    """edge_agent's configuration: TOML file, then EDGE_AGENT_* environment variables."""

    language: str = Field(
        "en",
        pattern=r"^[a-z]{2,3}$",
        description="ISO 639 code in lower case, such as en or zh; chooses templates, recognition and voice.",
    )
    device_id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,64}$",
        description="Name on MQTT; empty: hostname and six hex digits of the hashed machine-id.",
    )
    groups: tuple[GroupName, ...] = Field(
        (), max_length=16, description="Groups whose configuration this device takes; a later one beats an earlier one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    audio: AudioConfig = AudioConfig()
    vad: VadConfig = VadConfig()
    endpoint: EndpointConfig = EndpointConfig()
    activation: ActivationConfig = ActivationConfig()
    interruption: InterruptionConfig = InterruptionConfig()
    asr: AsrConfig = AsrConfig()
    intents: IntentsConfig = IntentsConfig()
    llm: LlmConfig = LlmConfig()
    tts: TtsConfig = TtsConfig()
    gpio: GpioConfig = GpioConfig()
    mqtt: MqttConfig = MqttConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    remote: RemoteConfig = RemoteConfig()
    home_assistant: HomeAssistantConfig = HomeAssistantConfig()
    directories: DirectoriesConfig = DirectoriesConfig()
    cores: CoresConfig = CoresConfig()
    store: StoreConfig = StoreConfig()
    timers: TimersConfig = TimersConfig()
    recorder: RecorderConfig = RecorderConfig()
    phrases: PhrasesConfig = PhrasesConfig()
    pressure: PressureConfig = PressureConfig()
