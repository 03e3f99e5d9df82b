"""`edge-agent setup`: what a device has to be told once, asked of a person or taken from flags."""
