"""The edge to an MQTT broker."""
