"""The ways in from outside: the local status socket, and what it answers."""
