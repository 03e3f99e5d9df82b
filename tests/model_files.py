"""Small real models to download, and a catalogue of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edge_agent.bench.gguf_model import TINY, write_model
from edge_agent.bench.onnx_voice import VoiceShape, write_voice
from edge_agent.models.catalog import CatalogFile, CatalogModel, Kind

TINY_VOICE = VoiceShape(width=32, wide=64, layers=1, couplings=1, decoder=32)
ENDINGS: dict[Kind, tuple[str, ...]] = {"vosk": (".zip",), "piper": (".onnx", ".onnx.json"), "llm": (".gguf",)}


def an_entry(kind: Kind, name: str, files: dict[str, bytes], address: str, **changes: Any) -> CatalogModel:  # noqa: ANN401
    """Return the catalogue's entry of a model whose files are at `address`; `sha256=False` leaves checksums out."""
    knows = changes.pop("sha256", True)
    return CatalogModel(
        id=name,
        kind=kind,
        languages=changes.pop("languages", ("en",)),
        description="For tests.",
        licence="CC0-1.0",
        licence_url="https://example.org/licence",
        files=tuple(
            CatalogFile(
                urls=(f"{address}/{file}",),
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest() if knows else None,
            )
            for file, content in files.items()
        ),
        **changes,
    )


def as_toml(*models: CatalogModel) -> str:
    """Write a catalogue."""
    lines: list[str] = []
    for model in models:
        told = model.model_dump(exclude_none=True, exclude={"files"})
        lines.append("[[models]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in told.items()]
        for file in model.files:
            lines.append("[[models.files]]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in file.model_dump(exclude_none=True).items()]
    return "\n".join(lines)


def zipped(directory: Path, top: str) -> bytes:
    """Return a directory as an archive with one directory in it."""
    archive = Path(tempfile.mkdtemp(), "a.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for path in sorted(directory.rglob("*")):
            file.write(path, f"{top}/{path.relative_to(directory)}")
    content = archive.read_bytes()
    shutil.rmtree(archive.parent)
    return content


@pytest.fixture(scope="session")
def gguf_files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Two tiny language models, by seed."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    directory = tmp_path_factory.mktemp("gguf")
    for seed in (1, 2):
        write_model(directory / f"{seed}.gguf", TINY, seed)
    return {seed: (directory / f"{seed}.gguf").read_bytes() for seed in (1, 2)}


@pytest.fixture(scope="session")
def voice_files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[bytes, bytes]]:
    """Two tiny voices, .onnx and .json, by seed."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    directory = tmp_path_factory.mktemp("voice")
    for seed in (1, 2):
        write_voice(directory / f"{seed}.onnx", TINY_VOICE, seed)
    return {
        seed: ((directory / f"{seed}.onnx").read_bytes(), (directory / f"{seed}.onnx.json").read_bytes())
        for seed in (1, 2)
    }


@pytest.fixture(scope="session")
def vosk_archive(models_dir: Path) -> bytes:
    """A real Vosk model as it is downloaded."""
    return zipped(models_dir / "vosk-sphinx-en", "vosk-model-small-en-test")
