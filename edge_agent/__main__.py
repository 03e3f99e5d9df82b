"""`edge-agent` and `python -m edge_agent`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from edge_agent.cli.main import run

    sys.exit(run())


if __name__ == "__main__":
    main()
