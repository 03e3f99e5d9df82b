"""Packages that only benchmarks need."""

from __future__ import annotations

import importlib
from typing import Any

from edge_agent.errors import EngineError


def need(package: str, extra: str = "bench") -> Any:  # noqa: ANN401 - any module
    """Import a package of an extra.

    Raises:
        EngineError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise EngineError("bench", f"needs {package} ({error}); `pip install edge-agent[{extra}]`") from error
