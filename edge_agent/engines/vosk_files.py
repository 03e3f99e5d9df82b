"""Looks for damage in a Vosk model's files that Kaldi itself overlooks or dies of."""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FST_MAGIC = 2125659606
_SYMBOLS_MAGIC = 2125658996
_HAS_INPUT_SYMBOLS, _HAS_OUTPUT_SYMBOLS, _ALIGNED = 1, 2, 4
_ALIGNMENT = 16
_ARC_BYTES = 16
_CONST_STATE_BYTES = 20
_LONGEST_NAME = 256
_TOPOLOGY = b"\0B<TransitionModel> <Topology> \x04"
_OPTION = re.compile(r"--[a-z][\w.-]*=\S+")


class DamageError(Exception):
    """A file is missing or damaged; the text says which and how."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What is known of an OpenFst file after reading it.

    Attributes:
        has_words: True if it carries its own table of output symbols.
        max_input: Largest input label, None where the type is not one we can walk.
        max_output: Largest output label, None likewise.
    """

    has_words: bool
    max_input: int | None = None
    max_output: int | None = None


def check_files(model: Path) -> None:
    """Check that the model is complete and that its parts fit each other, as far as the files tell.

    What can't be seen: options missing from the end of `conf/*.conf`, and damage in the middle of a file.

    Raises:
        DamageError: Something is missing or damaged.
    """
    if not (model / "am" / "final.mdl").is_file() and (model / "final.mdl").is_file():
        return  # the layout of models before 2020: Vosk's own reading has to do
    for name in ("am/final.mdl", "conf/mfcc.conf", "conf/model.conf", "graph/phones/word_boundary.int"):
        _require(model, name)
    if not (model / "am/global_cmvn.stats").is_file() and not (model / "ivector").is_dir():
        raise DamageError("neither am/global_cmvn.stats nor ivector/ is there")
    if (model / "ivector").is_dir():
        for name in ("final.ie", "final.dubm", "final.mat", "global_cmvn.stats", "online_cmvn.conf", "splice.conf"):
            _require(model, f"ivector/{name}")
    for path in sorted([*model.glob("conf/*.conf"), *model.glob("ivector/*.conf")]):
        _check_options(path, path.relative_to(model))
    if (model / "graph/HCLG.fst").is_file():
        _require_words(model, read_graph(model / "graph/HCLG.fst"))
    else:
        for name in ("graph/HCLr.fst", "graph/Gr.fst", "graph/disambig_tid.int"):
            _require(model, name)
        _require_words(model, read_graph(model / "graph/Gr.fst"))
        largest = max(_integers(model / "graph/disambig_tid.int"))
        max_input = read_graph(model / "graph/HCLr.fst").max_input
        if max_input is not None and max_input > largest:
            raise DamageError("graph/disambig_tid.int does not fit graph/HCLr.fst")
    _check_phones(model)


def read_graph(path: Path) -> Graph:
    """Read an OpenFst file from its header to its last arc.

    Raises:
        DamageError: It ends too early or is something else.
    """
    name = f"graph/{path.name}"
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _FstReader(data).graph()
    except (struct.error, IndexError) as error:
        raise DamageError(f"{name} is truncated") from error
    except ValueError as error:
        raise DamageError(f"{name} is not an OpenFst file ({error})") from error


class _FstReader:
    """Format: OpenFst's binary files, version 2 and later; numbers are little-endian."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def graph(self) -> Graph:
        if self._number("<i") != _FST_MAGIC:
            raise ValueError("wrong first bytes")
        kind, _arc = self._name(), self._name()
        _version, flags, _properties, start, states, arcs = self._numbers("<iiQqqq")
        for flag in (_HAS_INPUT_SYMBOLS, _HAS_OUTPUT_SYMBOLS):
            if flags & flag:
                self._skip_symbols()
        has_words = bool(flags & _HAS_OUTPUT_SYMBOLS)
        if kind == "vector" and states > 0:
            if not 0 <= start < states:
                raise ValueError("no start state")
            return Graph(has_words, *self._walk_vector(states))
        if kind == "const" and states > 0:
            return Graph(has_words, *self._walk_const(states, arcs, aligned=bool(flags & _ALIGNED)))
        return Graph(has_words)  # other types, look-ahead and n-gram, are left to OpenFst's own reading

    def _walk_vector(self, states: int) -> tuple[int, int]:
        """Each state: weight, number of arcs, arcs of (input, output, weight, next state)."""
        data, at, max_input, max_output = self._data, self._at, 0, 0
        head, arc = struct.Struct("<fq"), struct.Struct("<iifi")
        for _ in range(states):
            _weight, count = head.unpack_from(data, at)
            at += head.size
            if count < 0 or at + count * _ARC_BYTES > len(data):
                raise IndexError
            for output in range(count):
                label_in, label_out, _cost, target = arc.unpack_from(data, at + output * _ARC_BYTES)
                if not 0 <= target < states:
                    raise ValueError("an arc leads nowhere")
                max_input, max_output = max(max_input, label_in), max(max_output, label_out)
            at += count * _ARC_BYTES
        return max_input, max_output

    def _walk_const(self, states: int, arcs: int, *, aligned: bool) -> tuple[int, int]:
        """All states, then all arcs, each block padded to 16 bytes where the header says so."""
        import numpy as np

        if aligned:
            self._at += -self._at % _ALIGNMENT
        self._at += states * _CONST_STATE_BYTES
        if aligned:
            self._at += -self._at % _ALIGNMENT
        if arcs < 0 or self._at + arcs * _ARC_BYTES > len(self._data):
            raise IndexError
        if not arcs:
            return 0, 0
        # Copied, so that no array keeps the file mapped.
        table = np.frombuffer(self._data[self._at : self._at + arcs * _ARC_BYTES], dtype="<i4").reshape(arcs, 4)
        return int(table[:, 0].max()), int(table[:, 1].max())

    def _skip_symbols(self) -> None:
        if self._number("<i") != _SYMBOLS_MAGIC:
            raise ValueError("broken symbol table")
        self._name()
        _available, count = self._numbers("<qq")
        for _ in range(count):
            self._name()
            self._number("<q")

    def _name(self) -> str:
        size = self._number("<i")
        if not 0 <= size <= _LONGEST_NAME:
            raise ValueError("broken text")
        if self._at + size > len(self._data):
            raise IndexError
        self._at += size
        return self._data[self._at - size : self._at].decode(errors="replace")

    def _number(self, form: str) -> int:
        return self._numbers(form)[0]

    def _numbers(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return found


def _require(model: Path, name: str) -> None:
    path = model / name
    if not path.is_file():
        raise DamageError(f"{name} is missing")
    if not path.stat().st_size:
        raise DamageError(f"{name} is empty")


def _require_words(model: Path, graph: Graph) -> None:
    if graph.has_words:
        return
    _require(model, "graph/words.txt")
    lines = (model / "graph/words.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    fields = [line.split() for line in lines if line.strip()]
    if any(len(pair) != 2 or not pair[1].isdecimal() for pair in fields):  # noqa: PLR2004 - word and number
        raise DamageError("graph/words.txt has a broken line")
    numbers = {int(pair[1]) for pair in fields}
    if len(numbers) != len(fields) or (graph.max_output is not None and graph.max_output not in numbers):
        raise DamageError("graph/words.txt is truncated: it does not fit the graph")


def _check_options(path: Path, name: Path) -> None:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        option = line.partition("#")[0].strip()
        if option and not _OPTION.fullmatch(option):
            raise DamageError(f"{name} has a broken line {option[:40]!r}")


def _check_phones(model: Path) -> None:
    """Check that every phone of the acoustic model has a word-boundary type; Kaldi dies of one that has none."""
    known: set[int] = set()
    for line in (model / "graph/phones/word_boundary.int").read_text(errors="replace").splitlines():
        fields = line.split()
        if len(fields) != 2 or fields[1] not in {"nonword", "begin", "end", "internal", "singleton"}:  # noqa: PLR2004
            raise DamageError("graph/phones/word_boundary.int has a broken line")
        known.add(int(fields[0]) if fields[0].isdecimal() else 0)
    with (model / "am/final.mdl").open("rb") as file:
        head = file.read(len(_TOPOLOGY) + 4)
        if not head.startswith(_TOPOLOGY):
            return  # text, or another kind of model: Kaldi's own reading has to do
        count = int.from_bytes(head[len(_TOPOLOGY) :], "little", signed=True)
        phones = struct.unpack(f"<{count}i", file.read(4 * count)) if 0 < count < 1 << 16 else ()
    if not known.issuperset(phones):
        raise DamageError("graph/phones/word_boundary.int is truncated: it lacks phones of am/final.mdl")


def _integers(path: Path) -> list[int]:
    fields = re.split(r"[\s:]+", path.read_text(errors="replace").strip())
    if not all(field.isdecimal() for field in fields):
        raise DamageError(f"graph/{path.name} has a broken line")
    return [int(field) for field in fields]
