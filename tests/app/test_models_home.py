"""On an installed device the command line works on the service's models, or says why it may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.app.models_home import ModelsNotAllowedError, find_models
from edge_agent.app.places import find_places
from edge_agent.config.schema import Config

PULL = "models pull a"


def may_read(_: Path, mode: int) -> bool:
    """A member of the service's group."""
    return not mode & os.W_OK


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory of an installed service."""
    path = tmp_path / "var" / "lib" / "edge-agent"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("is_there", [False, True])
def test_who_may_not_change_the_service_s_models_is_told_how(tmp_path: Path, state: Path, *, is_there: bool) -> None:
    """Nothing goes where the service does not look; looking is allowed."""
    if is_there:
        (state / "models").mkdir()
    with pytest.raises(ModelsNotAllowedError, match=r"may not be changed by you; run: sudo edge-agent models pull a$"):
        find_models(Config(), PULL, changes=True, root=tmp_path, access=may_read)
    assert find_models(Config(), PULL, changes=False, root=tmp_path, access=may_read).root == state / "models"
    assert find_models(Config(), PULL, changes=True, root=tmp_path).root == state / "models"


def test_who_may_not_look_is_told_how(tmp_path: Path, state: Path) -> None:
    """A stranger to the service's group."""
    (state / "models").mkdir()
    with pytest.raises(ModelsNotAllowedError, match="may not be read by you"):
        find_models(Config(), "models list", changes=False, root=tmp_path, access=lambda *_: False)


def test_a_directory_of_one_s_own_is_one_s_own(tmp_path: Path, state: Path) -> None:
    """Configured, or with nothing installed."""
    own = Config.model_validate({"directories": {"models": str(tmp_path / "own")}})
    assert find_models(own, PULL, changes=True, root=tmp_path, access=may_read).root == tmp_path / "own"
    state.rmdir()
    found = find_models(Config(), PULL, changes=True, root=tmp_path, access=may_read)
    assert found.root == find_places(Config().directories).models
