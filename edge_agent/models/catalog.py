"""The catalogue: models by name, with where they come from, what they are checked against, and what they need."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edge_agent.config.problems import once_per_key
from edge_agent.config.section import Section
from edge_agent.errors import ConfigProblem
from edge_agent.models.errors import CatalogError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

Kind = Literal["vosk", "piper", "llm", "wake"]

_MOST_FILE_BYTES = 1 << 20
_MOST_MODEL_BYTES = 64 << 30
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_ENDINGS: dict[Kind, tuple[str, ...]] = {
    "vosk": (".zip",),
    "piper": (".onnx", ".onnx.json"),
    "llm": (".gguf",),
    "wake": (),
}
"""Of the files of a model of each kind, which otherwise are called as the model is."""


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise PydanticCustomError("url", "is not an http or https address")
    if parts.username is not None or parts.query or parts.fragment:
        raise PydanticCustomError("url", "holds a user, a query or a fragment")
    return url


Url = Annotated[str, AfterValidator(_check_url)]


class CatalogFile(Section):
    """One file to download."""

    urls: tuple[Url, ...] = Field(min_length=1, description="Where it is, the first one tried first.")
    size_bytes: int = Field(gt=0, le=_MOST_MODEL_BYTES, description="Its length.")
    size_is_approximate: bool = Field(default=False, description="The length is not known to the byte.")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Unset: the first download is pinned.")
    md5: str | None = Field(None, pattern=r"^[0-9a-f]{32}$", description="Checked as well, where given.")

    @property
    def name(self) -> str:
        """The last part of the first address, which it is called here and on every mirror."""
        return unquote(urlsplit(self.urls[0]).path.rpartition("/")[2])

    @property
    def most_bytes(self) -> int:
        """More than that it can't be."""
        return self.size_bytes * 2 if self.size_is_approximate else self.size_bytes


class CatalogModel(Section):
    """One model."""

    id: str = Field(pattern=_NAME, description="What it goes by, and what its files are called.")
    kind: Kind
    languages: tuple[str, ...] = Field(min_length=1, description="Codes as in `language`.")
    description: str
    licence: str = Field(min_length=1)
    licence_url: Url
    memory_mib: int | None = Field(None, gt=0, description="What it takes while it is used.")
    memory_from: Literal["published", "measured", "estimated"] | None = Field(
        None, description="Where that figure is from."
    )
    board_mib: int | None = Field(None, gt=0, description="Least memory of a board it is recommended for; unset: none.")
    comes_with: str | None = Field(None, description="A Python package that holds it.")
    files: tuple[CatalogFile, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What is downloaded."""
        return sum(file.size_bytes for file in self.files)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        expected = sorted(self.id + ending for ending in _ENDINGS[self.kind])
        if sorted(file.name for file in self.files) != expected:
            raise PydanticCustomError("files", f"has to have these files: {', '.join(expected) or 'none'}")
        if (self.memory_mib is None) != (self.memory_from is None):
            raise PydanticCustomError("memory", "memory_mib and memory_from belong together")
        if bool(self.files) == bool(self.comes_with):
            raise PydanticCustomError("origin", "has either files or comes_with")
        return self


class Catalog(Section):
    """All models that can be pulled by name."""

    models: tuple[CatalogModel, ...] = ()

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        ids = [model.id.lower() for model in self.models]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise PydanticCustomError("twice", f"has {', '.join(twice)} more than once")
        return self

    def find(self, name: str) -> CatalogModel:
        """Return the model of that name, in whatever case.

        Raises:
            UnknownModelError: There is none.
        """
        for model in self.models:
            if model.id.lower() == name.lower():
                return model
        raise UnknownModelError(name, [model.id for model in self.models])

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that something hears or speaks."""
        spoken = (model.languages for model in self.models if model.kind in {"vosk", "piper"})
        return tuple(sorted({language for languages in spoken for language in languages}))

    def recommended(self, language: str, memory_mib: int) -> tuple[CatalogModel, ...]:
        """Return what suits a board with that memory: of each kind the most demanding one that it is made for."""
        chosen: list[CatalogModel] = []
        for kind in ("vosk", "piper", "llm"):
            fitting = [model for model in self.models if model.kind == kind and _suits(model, language, memory_mib)]
            chosen += sorted(fitting, key=lambda model: -(model.board_mib or 0))[:1]
        return tuple(chosen)


def _suits(model: CatalogModel, language: str, memory_mib: int) -> bool:
    return language in model.languages and model.board_mib is not None and model.board_mib <= memory_mib


def catalog_file() -> Path:
    """Return where the catalogue that comes with edge_agent is: beside the package, or where it was installed."""
    checkout = Path(__file__).parents[2] / "models" / "catalog.toml"
    return checkout if checkout.is_file() else Path(sys.prefix, "share", "edge-agent", "catalog.toml")


def load_catalog(path: Path | None = None) -> Catalog:
    """Read a catalogue; None: the one that comes with edge_agent. Blocking.

    Raises:
        CatalogError: It can't be read, or something in it is wrong: one line for each key.
    """
    path = path or catalog_file()

    def refuse(message: str) -> CatalogError:
        return CatalogError([ConfigProblem("", message, str(path))])

    try:
        with path.open("rb") as file:
            text = file.read(_MOST_FILE_BYTES + 1)
        if len(text) > _MOST_FILE_BYTES:
            raise refuse(f"is larger than {_MOST_FILE_BYTES} bytes; this can't be a catalogue")
        tree = tomllib.loads(text.decode())
    except OSError as error:
        raise refuse(f"can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise refuse(f"is not valid TOML: {error}") from error
    try:
        return Catalog.model_validate(tree)
    except ValidationError as error:
        raise CatalogError(once_per_key(_problems(error.errors(include_url=False), tree, str(path)))) from error


def _problems(errors: Iterable[ErrorDetails], tree: Any, source: str) -> list[ConfigProblem]:  # noqa: ANN401 - TOML
    problems: list[ConfigProblem] = []
    for details in errors:
        message = details["msg"][:1].lower() + details["msg"][1:]
        if details["type"] == "extra_forbidden":
            message = "unknown key"
        problems.append(ConfigProblem(_key(details["loc"], tree), message, source))
    return problems


def _key(location: Sequence[int | str], tree: Any) -> str:  # noqa: ANN401 - TOML
    """Name models by their id where they have one: nobody counts tables in a file."""
    parts: list[str] = []
    for part in location:
        try:
            tree = tree[part]
        except (LookupError, TypeError):
            tree = None
        name = tree.get("id") if isinstance(tree, dict) and len(parts) == 1 else None
        if isinstance(name, str):
            parts.append(name)
        else:
            parts.append(str(part + 1) if isinstance(part, int) else part)
    return ".".join(parts)
