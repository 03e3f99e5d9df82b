"""Channels and lanes: how blocking work and the loop meet."""
