"""Configuration of the MQTT broker and of what may come and go through it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edge_agent.config.section import ConfigPath, Section


class MqttTlsConfig(Section):
    """TLS to the broker."""

    enabled: bool = Field(default=False, description="Encrypt, and check the broker's certificate and host name.")
    ca_file: ConfigPath | None = Field(
        None, description="PEM file of the authority that signed the broker's certificate; unset: the system's."
    )
    certificate_file: ConfigPath | None = Field(None, description="PEM file of this device's certificate, if any.")
    key_file: ConfigPath | None = Field(None, description="PEM file of mode 0600 with the certificate's key.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise PydanticCustomError("unpaired", "certificate_file and key_file need each other")
        return self


class MqttConfig(Section):
    """MQTT: the broker through which the device is watched and configured."""

    host: str = Field("", description="Broker; empty: no MQTT.")
    port: int | None = Field(None, ge=1, le=65535, description="Broker's port; unset: 1883, or 8883 with TLS.")
    username: str = Field("", description="User name; empty: anonymous.")
    password_file: ConfigPath | None = Field(
        None,
        description="File of mode 0600 that holds the password; unset: systemd's credential mqtt-password, if any.",
    )
    tls: MqttTlsConfig = MqttTlsConfig()
    keep_alive_s: int = Field(30, ge=5, le=3600, description="Longest silence before the broker is asked for a sign.")
    session_expiry_s: int = Field(
        86_400, ge=0, le=31_536_000, description="Seconds that the broker keeps messages for a device that is away."
    )
    metrics_every_s: float = Field(60.0, ge=0, le=86_400, description="Seconds between metrics; 0: none.")
    outbox_messages: int = Field(10_000, ge=1, le=1_000_000, description="Events that may wait for the broker.")
    outbox_mib: float = Field(16.0, gt=0, le=1024, description="What they may take on disk.")
    outbox_days: float = Field(30.0, gt=0, le=3650, description="Age at which an event that nobody took is dropped.")


class PrivacyConfig(Section):
    """What may leave the device, and what may be read on it."""

    publish_text: bool = Field(
        default=False, description="Publish what was said and answered; False: times, intents and counts only."
    )
    log_text: bool = Field(
        default=False, description="Log what was said and answered with each turn; False: times and intents only."
    )


class RemoteConfig(Section):
    """Being configured and commanded over MQTT."""

    configuration: bool = Field(default=True, description="Take changes of the configuration.")
    commands: bool = Field(default=True, description="Take commands.")
    public_key: str = Field(
        "",
        pattern=r"^([A-Za-z0-9+/]{43}=)?$",
        description="Ed25519 key, base64; where it is set only changes signed with its private half count.",
    )
    health_s: float = Field(
        30.0, ge=5, le=600, description="Seconds in which the device has to prove itself well after a change."
    )
    commands_per_minute: int = Field(60, ge=1, le=6000, description="Commands of one sender in a minute.")


class HomeAssistantConfig(Section):
    """Home Assistant's MQTT discovery."""

    enabled: bool = Field(default=False, description="Appear in Home Assistant by itself.")
    prefix: str = Field("homeassistant", pattern=r"^[^+#\x00/]+(/[^+#\x00/]+)*$", description="Its discovery prefix.")
    name: str = Field("", max_length=64, description="The device's name there; empty: its device_id.")


Layer = Literal["fleet", "group", "device"]
"""Whom a remote document is for, from the weakest to the strongest."""
