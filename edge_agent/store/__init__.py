"""What must survive a restart, in one SQLite file: the conversation, timers, events that wait for the broker."""
