"""SPEAK: sentences ▸ synthesis ▸ playback. Protocols and pure logic."""
