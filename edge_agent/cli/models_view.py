"""What a person sees of `edge-agent models`."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from edge_agent.app.model_choice import board_memory_mib, used_model
from edge_agent.models.inventory import survey
from edge_agent.models.removing import kept_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_agent.app.model_choice import Use
    from edge_agent.config.schema import Config
    from edge_agent.models.catalog import Catalog, CatalogModel
    from edge_agent.models.layout import ModelsHome
    from edge_agent.models.pulling import Pulled

_MIB = 1 << 20
_GIB_FROM_MIB = 1000
_MOST_LANGUAGES = 3
_TITLES = {"vosk": "Hearing (Vosk)", "piper": "Speaking (Piper)", "llm": "Answering (GGUF)", "wake": "Waking up"}
_STEPS = {"download": "loading", "check": "checking", "unpack": "unpacking", "prove": "trying"}


def describe(config: Config, catalog: Catalog, home: ModelsHome, language: str) -> dict[str, Any]:
    """Return what `models list --json` prints. Blocking."""
    memory_mib = board_memory_mib()
    recommended = {model.id for model in catalog.recommended(language, memory_mib)}
    found = survey(catalog, home)
    here = {entry.name: entry.path for entry in found if entry.model is not None}
    used = {kind: used_model(config, home.root, kind) for kind in ("vosk", "piper", "llm")}
    listed = [
        {
            "name": model.id,
            "kind": model.kind,
            "languages": list(model.languages),
            "description": model.description,
            "size_bytes": model.size_bytes,
            "memory_mib": model.memory_mib,
            "memory_from": model.memory_from,
            "licence": model.licence,
            "licence_url": model.licence_url,
            "has_sha256": all(file.sha256 is not None for file in model.files),
            "recommended": model.id in recommended,
            "installed": _is_here(model, here),
            "path": str(here[model.id]) if model.id in here else None,
            "used": _is(here.get(model.id), used.get(model.kind)),
            "kept_bytes": kept_bytes(model, home),
            "in_catalog": True,
        }
        for model in catalog.models
    ]
    listed += [
        {
            "name": entry.name,
            "kind": entry.kind,
            "installed": True,
            "path": str(entry.path),
            "used": _is(entry.path, used.get(entry.kind)),
            "in_catalog": False,
        }
        for entry in found
        if entry.model is None
    ]
    return {
        "directory": str(home.root),
        "language": language,
        "memory_mib": memory_mib,
        "free_bytes": _free_bytes(home.root),
        "models": listed,
    }


def print_models(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `describe` returned."""
    console = console or Console(highlight=False)
    for kind, title in _TITLES.items():
        rows = [model for model in found["models"] if model["kind"] == kind]
        if not rows:
            continue
        # Narrow: the longest name, and all else of it, are to fit into 80 columns.
        table = Table(
            title=title,
            title_style="bold",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
        )
        table.add_column("   Name", no_wrap=True)
        table.add_column("Languages", overflow="fold")
        table.add_column("Size", justify="right")
        table.add_column("Memory", justify="right")
        table.add_column("Licence", overflow="fold")
        for model in rows:
            table.add_row(*_cells(model))
        console.print(table)
        console.print()
    for model in found["models"]:
        if model.get("kept_bytes"):
            kept = f"{model['name']}: {model['kept_bytes'] / _MIB:.1f} MiB of a pull that has not ended"
            console.print(Text(f"{kept}; pull it again to go on, or remove it"), soft_wrap=True)
    board = f'{found["memory_mib"]} MiB of memory and language "{found["language"]}"'
    if any(model.get("recommended") for model in found["models"]):
        marks = f"✓ here   ● used   ~ estimated   ★ recommended for\n{board}"
    else:
        marks = f"✓ here   ● used   ~ estimated\nnothing is recommended for {board}"
    free = "" if found["free_bytes"] is None else f", {found['free_bytes'] / _MIB:.0f} MiB free"
    console.print(
        Text(f"{marks}\n{found['directory']}{free}", "dim"),
        soft_wrap=True,
    )


def describe_pull(pulled: Pulled, use: Use) -> dict[str, Any]:
    """Return what `models pull --json` prints of one model."""
    return {
        "name": pulled.model.id,
        "ok": True,
        "path": str(pulled.path),
        "is_new": pulled.is_new,
        "pinned": dict(pulled.pinned),
        "tried": pulled.is_tried,
        "used": use.is_used,
        "remedy": use.remedy or None,
        "licence": pulled.model.licence,
    }


def print_pull(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `describe_pull` returned."""
    console = console or Console(highlight=False)
    state = "is here now" if result["is_new"] else "was here already, and is as it should be"
    line = Text.assemble(("✓ ", "green"), (result["name"], "bold"), f" {state}: {result['path']}")
    console.print(line, soft_wrap=True)
    for name, sha256 in result["pinned"].items():
        console.print(
            Text(
                f"  {name}: no SHA-256 is published; this one is pinned, and later downloads are held to it: {sha256}"
            ),
            soft_wrap=True,
        )
    if result["is_new"]:
        console.print(Text(f"  licence: {result['licence']}"), soft_wrap=True)
        if not result["tried"]:
            console.print(
                Text("  its engine is not installed: only its files were looked at", "yellow"), soft_wrap=True
            )
    if not result["used"]:
        console.print(Text(f"  not used: {result['remedy']}", "yellow"), soft_wrap=True)


class PullProgress:
    """A bar on standard error for what is under way; a line each for its steps where there is no terminal."""

    def __init__(self, progress: Progress | None, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._told: set[tuple[str, str]] = set()

    def __call__(self, step: str, name: str, done: int, total: int) -> None:
        """Show it."""
        key = (name, step)
        if self._progress is None:
            return
        if not self._console.is_terminal:
            if key not in self._told:
                self._told.add(key)
                self._console.print(Text(f"{_STEPS[step]} {name}"), soft_wrap=True)
            return
        if key not in self._tasks:
            self.forget(name)
            self._tasks[key] = self._progress.add_task(f"{_STEPS[step]} {name}", total=total)
        self._progress.update(self._tasks[key], completed=done, total=total)
        if done >= total:
            self.forget(name)

    def forget(self, name: str) -> None:
        """Take away the bars of a file, or of a model's files."""
        for key in [key for key in self._tasks if key[0].startswith(name)]:
            if self._progress is not None:
                self._progress.remove_task(self._tasks.pop(key))


@contextmanager
def pull_progress(*, quiet: bool) -> Iterator[PullProgress]:
    """Show bars while the context lasts; `quiet` shows none."""
    console = Console(file=sys.stderr, highlight=False)
    if quiet or not console.is_terminal:
        yield PullProgress(None if quiet else Progress(console=console, disable=True), console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield PullProgress(progress, console)


def _cells(model: Mapping[str, Any]) -> list[Text | str]:
    mark = Text("●" if model["used"] else "✓" if model["installed"] else " ", "green")
    mark.append("★" if model.get("recommended") else " ", "yellow")
    name = Text.assemble(mark, " ", model["name"])
    if not model["in_catalog"]:
        return [name, "", "", "", Text("your own", "dim")]
    memory = "" if model["memory_mib"] is None else _mebibytes(model["memory_mib"])
    languages = model["languages"]
    return [
        name,
        " ".join(languages) if len(languages) <= _MOST_LANGUAGES else f"{' '.join(languages[:2])} …",
        _mebibytes(model["size_bytes"] / _MIB) if model["size_bytes"] else "none",
        f"~{memory}" if model["memory_from"] == "estimated" else memory,
        model["licence"].partition(" (")[0],
    ]


def _mebibytes(size_mib: float) -> str:
    return f"{size_mib / 1024:.1f} GiB" if size_mib >= _GIB_FROM_MIB else f"{size_mib:.0f} MiB"


def _is_here(model: CatalogModel, here: Mapping[str, Path]) -> bool:
    if model.comes_with is None:
        return model.id in here
    try:
        return bool(version(model.comes_with))
    except PackageNotFoundError:
        return False


def _is(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and one.resolve() == other.resolve()


def _free_bytes(directory: Path) -> int | None:
    place = next((path for path in (directory, *directory.parents) if path.is_dir()), None)
    return None if place is None else shutil.disk_usage(place).free
