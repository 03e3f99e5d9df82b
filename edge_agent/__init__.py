"""A voice agent that lives on a small board and needs nobody else."""

__version__ = "0.1.0"
