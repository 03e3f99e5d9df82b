"""Hardware and its file-shaped stand-ins: microphone, speaker, recordings, button, light, outputs."""
