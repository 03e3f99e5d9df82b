"""A disk in memory whose power can be cut at every operation, and that can be full or broken."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


class PowerLossError(Exception):
    """The power was cut; nothing of the program may catch this."""


@dataclass(eq=False)
class _File:
    """What was written, and what of it a power cut surely leaves."""

    content: bytes = b""
    synced: bytes = b""


@dataclass
class UnreliableDisk:
    """Implements `DurableFiles`. What was not synced may be lost, torn or kept, and each rename by itself.

    Attributes:
        power_for: Operations before the power is cut; None: it is never.
        is_cut_after: The operation that it is cut at still takes effect.
        fails_with: Errno of everything that writes; 0: all is well.
        operations: What was done, in order.
    """

    power_for: int | None = None
    is_cut_after: bool = False
    fails_with: int = 0
    fails: Callable[[str], bool] = lambda _: True
    operations: list[str] = field(default_factory=list)
    _names: dict[Path, _File] = field(default_factory=dict)
    _synced_names: dict[Path, _File] = field(default_factory=dict)
    _changes: list[Callable[[dict[Path, _File]], None]] = field(default_factory=list)

    def read(self, path: Path, most_bytes: int) -> bytes:
        """See `DurableFiles`."""
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return self._names[path].content[:most_bytes]

    def write(self, path: Path, content: bytes) -> None:
        """See `DurableFiles`."""
        with_power = self._begin(f"write {path.name}")
        if path not in self._names:
            made = _File()

            def create(names: dict[Path, _File]) -> None:
                names.setdefault(path, made)

            self._change(create)
        self._names[path].content = content
        self._end(with_power)

    def sync(self, path: Path) -> None:
        """See `DurableFiles`."""
        with_power = self._begin(f"sync {path.name}")
        self._names[path].synced = self._names[path].content
        self._end(with_power)

    def rename(self, old: Path, new: Path) -> None:
        """See `DurableFiles`."""
        if old not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(old))
        with_power = self._begin(f"rename {old.name} {new.name}")

        def change(names: dict[Path, _File]) -> None:
            if old in names:
                names[new] = names.pop(old)

        self._change(change)
        self._end(with_power)

    def sync_directory(self, directory: Path) -> None:
        """See `DurableFiles`."""
        with_power = self._begin("sync_directory")
        self._synced_names = dict(self._names)
        self._changes.clear()
        self._end(with_power)

    def put(self, path: Path, content: bytes) -> None:
        """Let a file hold something, as if it had always."""
        self._names[path] = self._synced_names[path] = _File(content, content)

    def restart(self, choose: random.Random) -> None:
        """Switch the power on again: `choose` says what of the unsynced is there."""
        names = dict(self._synced_names)
        for change in self._changes:
            if choose.random() < 0.5:
                change(names)
        for file in {id(file): file for file in names.values()}.values():
            if file.content != file.synced:
                torn = file.content[: choose.randrange(len(file.content) + 1)]
                file.content = choose.choice([file.synced, file.content, torn, torn + bytes(40)])
            file.synced = file.content
        self._names, self._synced_names = names, dict(names)
        self._changes.clear()
        self.power_for, self.is_cut_after = None, False

    def lose_power(self) -> None:
        """Cut it now, and for everything that follows."""
        self.power_for = 0
        raise PowerLossError

    def _change(self, change: Callable[[dict[Path, _File]], None]) -> None:
        change(self._names)
        self._changes.append(change)

    def _begin(self, operation: str) -> bool:
        if self.power_for is not None:
            if self.power_for <= 0 and not (self.power_for == 0 and self.is_cut_after):
                raise PowerLossError
            self.power_for -= 1
        self.operations.append(operation)
        if self.fails_with and self.fails(operation):
            raise OSError(self.fails_with, errno.errorcode[self.fails_with])
        return self.power_for is None or self.power_for >= 0

    def _end(self, with_power: bool) -> None:
        if not with_power:
            raise PowerLossError
