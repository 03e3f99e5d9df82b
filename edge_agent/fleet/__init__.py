"""Watching and changing many devices over MQTT: what an operator's machine does."""
