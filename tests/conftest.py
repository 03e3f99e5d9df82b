"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["mosquitto_broker"]

_SHARED = Path(os.environ.get("EDGE_AGENT_TEST_DATA", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Directory of recorded speech and small models; not part of the project."""
    if not (_SHARED / "speech" / "manifest.json").is_file():
        pytest.skip(f"no test data at {_SHARED} (set EDGE_AGENT_TEST_DATA to its place)")
    return _SHARED


@pytest.fixture(scope="session")
def speech_dir(shared_dir: Path) -> Path:
    """Recorded speech."""
    return shared_dir / "speech"


@pytest.fixture(scope="session")
def models_dir(shared_dir: Path) -> Path:
    """Small real models."""
    return shared_dir / "models"
