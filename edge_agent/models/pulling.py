"""Pulls a model: fetched, checked, unpacked beside, proved, and only then put in place, all at once.

What was there before stays until then, whatever happens; what came so far is kept for the next pull.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from edge_agent.engines.probe import ProbeStop
from edge_agent.models.errors import ArchiveError, PlaceError, ProofError, RoomError
from edge_agent.models.fetching import Fetcher, Terms, Wanted
from edge_agent.models.inventory import Installed, Verdict, expected_sums, is_untouched
from edge_agent.models.layout import ModelsHome, make_directory, place_errors, put_in_place, remove, sync
from edge_agent.models.pins import Contained, Contents, Pin, Pins, utc_now
from edge_agent.models.proving import find_fault, is_tried
from edge_agent.models.sources import sources_of
from edge_agent.models.unpacking import unpack_steps
from edge_agent.runtime.pool import Priority
from edge_agent.runtime.tasks import surely

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from edge_agent.models.catalog import CatalogFile, CatalogModel
    from edge_agent.models.digest import Digests
    from edge_agent.net.http import HttpPool
    from edge_agent.runtime.pool import Pool

T = TypeVar("T")

_UNPACKED_SHARE = 2.0
"""Of an archive's size, what unpacking is reckoned to take before it is known; small Vosk models take 1.6 to 1.9."""


class Progress(Protocol):
    """Is told how a pull goes. Called on the loop."""

    def __call__(self, step: str, name: str, done: int, total: int) -> None:
        """Take note: `step` is download, check, unpack or prove; `done` of `total` are bytes."""
        ...


def _tell_nobody(step: str, name: str, done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is pulled.

    Attributes:
        mirrors: Are asked before the catalogue's own addresses, in this order.
        directory: Where the files are taken from instead of any server.
        repin: Take another file than the one that was pinned.
        is_thorough: Compare checksums of what is here already; else sizes and times have to do.
    """

    mirrors: tuple[str, ...] = ()
    directory: Path | None = None
    repin: bool = False
    is_thorough: bool = True
    terms: Terms = field(default_factory=Terms)
    progress: Progress = _tell_nobody


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull has done.

    Attributes:
        path: What an engine is given.
        is_new: False where the model was there already, unchanged.
        pinned: Files without a published checksum, whose first one was taken; with it.
        is_tried: Its engine has tried it; else its files were looked at.
    """

    model: CatalogModel
    path: Path
    is_new: bool
    pinned: Mapping[str, str]
    is_tried: bool


async def pull(
    model: CatalogModel, home: ModelsHome, http: HttpPool, pool: Pool, manner: Manner | None = None
) -> Pulled:
    """Bring a model of the catalogue here; returns when it is in place.

    Cancelled at any moment, it leaves what was there before, or the new one, and keeps what came so far.

    Args:
        model: One that has files.
        home: Where to.
        http: Asks the servers.
        pool: Files are written, read and unpacked on it, at low priority.
        manner: How.

    Raises:
        DownloadError: No source gave a file.
        ArchiveError: The archive is refused.
        ProofError: All of it came, and does not work.
        RoomError: The disk has no room.
        PlaceError: The directory can't be written.
        ModelBusyError: Somebody else pulls it.
    """
    return await _Pull(model, home, http, pool, manner or Manner()).run()


class _Pull:
    def __init__(self, model: CatalogModel, home: ModelsHome, http: HttpPool, pool: Pool, manner: Manner) -> None:
        self._model = model
        self._home = home
        self._pool = pool
        self._manner = manner
        self._work = home.work(model)
        self._fresh = self._work / "new"
        self._fetcher = Fetcher(http, pool, manner.terms, manner.progress)

    async def run(self) -> Pulled:
        async with self._locked():
            pins = await self._run(Pins(self._home).read)
            if not self._manner.repin and await self._is_here(pins):
                return await self._pulled({}, is_new=False)
            await self._run(self._make_room)
            fetched: dict[str, tuple[Digests, str]] = {}
            for file in self._model.files:
                wanted = self._wanted(file, pins)
                mirrors, directory = self._manner.mirrors, self._manner.directory
                sources = await self._run(partial(sources_of, self._model, file, mirrors, directory))
                fetched[file.name] = await self._fetcher.fetch(wanted, self._work / file.name, sources)
            await self._prove(await self._assemble())
            found = await self._describe({name: digests.sha256 for name, (digests, _) in fetched.items()})
            new_pins = {name: self._pin(name, *told) for name, told in fetched.items()}
            await surely(self._run(partial(self._finish, found, new_pins)), "models.finish")
            pinned = {
                name: pin.sha256
                for name, pin in new_pins.items()
                if not pin.is_published and (name not in pins or pins[name].sha256 != pin.sha256)
            }
            return await self._pulled(pinned, is_new=True)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Hold the model's lock, on whatever thread."""
        lock = self._home.locked(self._model.id)
        await self._run(lock.__enter__)
        try:
            yield
        finally:
            await surely(self._run(partial(lock.__exit__, None, None, None)), "models.unlock")

    async def _is_here(self, pins: Mapping[str, Pin]) -> bool:
        """Tell whether there is nothing to do; what somebody has put there by hand is compared first."""
        model, home = self._model, self._home
        if await self._run(partial(is_untouched, model, home, pins)):
            return not self._manner.is_thorough or await self._is_whole(pins)
        place = await self._run(partial(home.find, model))
        if place is None or model.kind == "vosk" or any(file.sha256 is None for file in model.files):
            return False
        for file in model.files:
            path = place.with_name(file.name)
            if await self._run(partial(_size_of, path)) != file.size_bytes:
                return False
            if (await self._fetcher.digest(path, file.name)).sha256 != file.sha256:
                return False
        return True

    async def _is_whole(self, pins: Mapping[str, Pin]) -> bool:
        """Compare what was put in place with its checksums: a worn card changes bytes, and neither size nor time."""
        model, target = self._model, self._home.target(self._model)
        place = target / f"{model.id}.onnx" if model.kind == "piper" else target
        found = Installed(model.id, model.kind, place, model)
        for path, sha256 in (await self._run(partial(expected_sums, found, pins, Verdict()))).items():
            try:
                digests = await self._fetcher.digest(path, path.name)
            except PlaceError:
                return False  # what can't be read is fetched anew
            if digests.sha256 != sha256:
                return False
        return True

    def _make_room(self) -> None:
        """Make the directory; refuse to begin what the disk has no room for."""
        terms, model = self._manner.terms, self._model
        with place_errors(self._work):
            make_directory(self._work)
            for file in model.files:  # of a voice that was gathered, and then not proved
                if (self._fresh / file.name).exists():
                    (self._fresh / file.name).replace(self._work / file.name)
            remove(self._fresh)
            kept = sum(self._fetcher.part(self._work / file.name).size_bytes for file in model.files)
            needed = max(0, model.size_bytes - kept) + terms.reserve_bytes
            if model.kind == "vosk":
                needed += int(model.size_bytes * _UNPACKED_SHARE)
            free_bytes = terms.free_bytes(self._work)
        if free_bytes < needed:
            raise RoomError(self._home.root, needed, free_bytes)

    def _wanted(self, file: CatalogFile, pins: Mapping[str, Pin]) -> Wanted:
        pin = pins.get(file.name)
        if file.sha256 is not None or pin is None or pin.is_published or self._manner.repin:
            return Wanted(file, file.sha256)
        remedy = (
            f" since the first download on {pin.pinned_at[:10]}; if its publisher says that there is another one, "
            "pull it with --repin"
        )
        return Wanted(file, pin.sha256, remedy)

    async def _assemble(self) -> Path:
        """Put together what an engine can be given; return that."""
        model = self._model
        if model.kind == "vosk":
            steps = unpack_steps(
                self._work / model.files[0].name,
                self._fresh,
                free_bytes=self._manner.terms.free_bytes,
                reserve_bytes=self._manner.terms.reserve_bytes,
            )
            running = self._pool.steps(steps, kind="models.unpack", priority=Priority.LOW)
            try:
                async with aclosing(running) as unpacking:
                    async for done, total in unpacking:
                        await self._manner.terms.pace()
                        self._manner.progress("unpack", model.id, done, total)
            except ArchiveError:
                await self._run(self._drop)
                raise
            return self._fresh
        if model.kind == "piper":
            await self._run(self._gather)
            return self._fresh / f"{model.id}.onnx"
        return self._work / model.files[0].name

    def _gather(self) -> None:
        """Give the files of a voice a directory of their own."""
        with place_errors(self._fresh):
            make_directory(self._fresh)
            for file in self._model.files:
                (self._work / file.name).rename(self._fresh / file.name)

    async def _prove(self, path: Path) -> None:
        model, stop = self._model, ProbeStop()
        self._manner.progress("prove", model.id, 0, 1)
        reason = await self._run(lambda: find_fault(model.kind, path, stop), kind="models.prove", stop=stop.set)
        if reason is not None:
            await self._run(self._drop)
            raise ProofError(model.id, reason)
        self._manner.progress("prove", model.id, 1, 1)

    async def _describe(self, downloads: dict[str, str]) -> Contents | None:
        """List what a directory holds, for `verify`."""
        if not await self._run(self._fresh.is_dir):
            return None
        held: dict[str, Contained] = {}
        for path in await self._run(lambda: sorted(path for path in self._fresh.rglob("*") if path.is_file())):
            digests = await self._fetcher.digest(path, self._model.id)
            mtime_ns = (await self._run(path.stat)).st_mtime_ns
            name = str(path.relative_to(self._fresh))
            held[name] = Contained(sha256=digests.sha256, size_bytes=digests.size_bytes, mtime_ns=mtime_ns)
        return Contents(downloads=downloads, files=held)

    def _pin(self, name: str, digests: Digests, source: str) -> Pin:
        is_published = any(file.sha256 is not None for file in self._model.files if file.name == name)
        return Pin(
            sha256=digests.sha256,
            size_bytes=digests.size_bytes,
            source=source,
            is_published=is_published,
            pinned_at=utc_now(),
        )

    def _finish(self, contents: Contents | None, pins: Mapping[str, Pin]) -> None:
        target, name = self._home.target(self._model), self._model.files[0].name
        with place_errors(target):
            if target.is_symlink() or (target.exists() and target.is_dir() is (contents is None)):
                raise PlaceError(target, "is something else than a model that was pulled; move it away first")
            if contents is None:
                fresh = self._work / name
                sync(fresh)
                pins = {name: pins[name].model_copy(update={"mtime_ns": fresh.stat().st_mtime_ns})}
            else:
                fresh = self._fresh
                contents.write(fresh)
                for path in fresh.iterdir():
                    sync(path)
            Pins(self._home).add(pins)
            put_in_place(fresh, target)
            remove(self._work)

    def _drop(self) -> None:
        """Remove what can't be gone on with."""
        with place_errors(self._work):
            remove(self._work)

    async def _pulled(self, pinned: Mapping[str, str], *, is_new: bool) -> Pulled:
        model, home = self._model, self._home
        path = await self._run(partial(home.find, model)) or home.target(model)
        return Pulled(model, path, is_new, pinned, await self._run(partial(is_tried, model.kind)))

    async def _run(self, call: Callable[[], T], kind: str = "models.file", stop: Callable[[], None] | None = None) -> T:
        return await self._pool.run(call, kind=kind, priority=Priority.LOW, stop=stop)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
