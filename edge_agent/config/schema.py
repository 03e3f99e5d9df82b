"""The whole configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_agent.config.audio import (
    ActivationConfig,
    AudioConfig,
    DirectoriesConfig,
    EndpointConfig,
    GpioConfig,
    InterruptionConfig,
    VadConfig,
)
from edge_agent.config.engines import AsrConfig, IntentsConfig, LlmConfig, MqttConfig, TtsConfig
from edge_agent.config.running import CoresConfig, PhrasesConfig, PressureConfig, RecorderConfig, StoreConfig
from edge_agent.config.section import Section
from edge_agent.config.timers import TimersConfig


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
    directories: DirectoriesConfig = DirectoriesConfig()
    cores: CoresConfig = CoresConfig()
    store: StoreConfig = StoreConfig()
    timers: TimersConfig = TimersConfig()
    recorder: RecorderConfig = RecorderConfig()
    phrases: PhrasesConfig = PhrasesConfig()
    pressure: PressureConfig = PressureConfig()
