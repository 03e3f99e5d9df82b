"""REASON: local intents first, then the language model. Protocols and pure logic."""
