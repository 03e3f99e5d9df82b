"""What of the catalogue is here, and what else is; whether it is still what was downloaded. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.models.digest import Digests, digest_steps
from edge_agent.models.pins import CONTENTS, Pins, read_contents

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from edge_agent.models.catalog import Catalog, CatalogModel, Kind
    from edge_agent.models.layout import ModelsHome
    from edge_agent.models.pins import Pin


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that is here.

    Attributes:
        path: What an engine is given.
        model: Its entry; None for one that the catalogue does not know.
    """

    name: str
    kind: Kind
    path: Path
    model: CatalogModel | None


def survey(catalog: Catalog, home: ModelsHome) -> tuple[Installed, ...]:
    """Return all models below the models directory, those of the catalogue first, each kind by name."""
    known = [
        Installed(model.id, model.kind, path, model)
        for model in catalog.models
        if model.files and (path := home.find(model)) is not None
    ]
    paths = {found.path.resolve() for found in known}
    places: tuple[tuple[Kind, Sequence[Path]], ...] = (
        ("vosk", sorted(path for path in home.root.glob("vosk/*") if path.is_dir())),
        ("piper", sorted(home.root.glob("piper/**/*.onnx"))),
        ("llm", sorted(home.root.glob("llm/**/*.gguf"))),
    )
    own = [
        Installed(path.name if kind == "vosk" else path.stem, kind, path, None)
        for kind, found in places
        for path in found
        if path.resolve() not in paths
    ]
    return (*known, *own)


def is_untouched(model: CatalogModel, home: ModelsHome, pins: Mapping[str, Pin]) -> bool:
    """Tell whether a model is here as it was put in place, by sizes and times, and as the catalogue has it now."""
    for file in model.files:
        pin = pins.get(file.name)
        if pin is None or (file.sha256 is not None and pin.sha256 != file.sha256):
            return False
    target = home.target(model)
    try:
        if not target.is_dir():
            pin, status = pins[model.files[0].name], target.stat()
            return (status.st_size, status.st_mtime_ns) == (pin.size_bytes, pin.mtime_ns)
        contents = read_contents(target)
        if contents is None or contents.downloads != {file.name: pins[file.name].sha256 for file in model.files}:
            return False  # pins are written first: a power cut may have come in between
        for name, held in contents.files.items():
            status = (target / name).stat()
            if (status.st_size, status.st_mtime_ns) != (held.size_bytes, held.mtime_ns):
                return False
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Verdict:
    """Whether a model's files are what they should be; whole when `verify_steps` has ended.

    Attributes:
        fault: What is wrong; empty: nothing.
        checked: What the files were compared with: "published", "pinned", or "" where nothing is known of them.
    """

    fault: str = ""
    checked: str = ""


def verify_steps(found: Installed, home: ModelsHome, verdict: Verdict) -> Generator[int, None, None]:
    """Compare a model's files with what is known of them; yield the bytes read so far, of each file.

    Raises:
        PlaceError: The pins can't be read.
    """
    expected = expected_sums(found, Pins(home).read(), verdict)
    for path, sha256 in expected.items():
        digests = Digests()
        try:
            yield from digest_steps(path, digests)
        except OSError as error:
            verdict.fault = f"{path.name} can't be read: {error.strerror}"
            return
        if digests.sha256 != sha256:
            verdict.fault = f"{path.name} is not what was downloaded (SHA-256 {digests.sha256}, was {sha256})"
            return


def expected_sums(found: Installed, pins: Mapping[str, Pin], verdict: Verdict) -> dict[Path, str]:
    """Return what each file's SHA-256 should be, as far as that is known; `verdict` is told from where."""
    directory = found.path if found.path.is_dir() else found.path.parent
    contents = read_contents(directory) if (directory / CONTENTS).is_file() else None
    files = () if found.model is None else found.model.files
    pinned = [pin for file in files if (pin := pins.get(file.name)) is not None]
    if contents is not None:
        is_published = bool(pinned) and all(pin.is_published for pin in pinned)
        verdict.checked = "published" if is_published else "pinned"
        return {directory / name: held.sha256 for name, held in contents.files.items()}
    expected: dict[Path, str] = {}
    if found.kind != "vosk":
        for file in files:
            pin = pins.get(file.name)
            sha256 = file.sha256 or (None if pin is None else pin.sha256)
            if sha256 is not None:
                expected[directory / file.name] = sha256
                verdict.checked = "pinned" if file.sha256 is None or verdict.checked == "pinned" else "published"
    return expected
