"""The turn state machine and the runner that joins HEAR, REASON and SPEAK."""
