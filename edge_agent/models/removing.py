"""Removes a model. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.models.layout import make_directory, place_errors, remove, sync

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.catalog import CatalogModel
    from edge_agent.models.inventory import Installed
    from edge_agent.models.layout import ModelsHome


def remove_model(found: Installed, home: ModelsHome) -> int:
    """Remove a model that is here, at once for whoever looks; return the bytes that are free again.

    What was pinned stays: a later download is held to it.

    Raises:
        ModelBusyError: Somebody pulls it.
        PlaceError: It can't be removed.
    """
    with home.locked(found.name), place_errors(found.path):
        size_bytes = 0
        for place in _places(found, home):
            size_bytes += _size(place)
            aside = home.root / ".pull" / f"{place.name}.gone"
            make_directory(aside.parent)
            remove(aside)
            place.rename(aside)
            sync(place.parent)
            remove(aside)
        remove(home.root / ".pull" / found.name)
    return size_bytes


def remove_parts(model: CatalogModel, home: ModelsHome) -> int:
    """Remove what is kept of a pull that has not ended; return the bytes that are free again.

    Raises:
        ModelBusyError: It is under way.
        PlaceError: It can't be removed.
    """
    work = home.work(model)
    with home.locked(model.id), place_errors(work):
        size_bytes = _size(work) if work.is_dir() else 0
        remove(work)
    return size_bytes


def kept_bytes(model: CatalogModel, home: ModelsHome) -> int:
    """Return how much is kept of a pull that has not ended."""
    return _size(home.work(model)) if home.work(model).is_dir() else 0


def _places(found: Installed, home: ModelsHome) -> list[Path]:
    """Return what is removed; of a voice the .onnx goes first, so that no half of one is found."""
    if found.kind == "piper":
        if found.path.parent == home.root / "piper" / found.name:
            return [found.path.parent]
        beside = found.path.with_name(f"{found.path.name}.json")
        return [found.path, *([beside] if beside.exists() else [])]
    return [found.path]


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
