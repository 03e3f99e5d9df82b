"""HEAR: audio source ▸ VAD ▸ wake word ▸ endpointing ▸ recognition. Protocols and pure logic."""
