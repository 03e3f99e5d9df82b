"""Models are pulled whole, proved, and put in place at once; what was there before stays until then."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from doubles import until
from hostile_server import HostileServer, hang_up, hostile_server, status, whole
from model_files import an_entry

from edge_agent.models import layout, pulling
from edge_agent.models.catalog import Catalog, CatalogModel
from edge_agent.models.errors import ArchiveError, DownloadError, ModelBusyError, PlaceError, ProofError, RoomError
from edge_agent.models.fetching import Terms
from edge_agent.models.inventory import Verdict, survey, verify_steps
from edge_agent.models.layout import ModelsHome
from edge_agent.models.pulling import Manner, Pulled, pull
from edge_agent.net.http import HttpLimits, HttpPool, open_http
from edge_agent.runtime.pool import Pool

MIB = 1 << 20
NAME = "tiny-instruct"
VOICE = "en_US-tiny-low"


@dataclass
class Rig:
    """A server, and a models directory."""

    server: HostileServer
    http: HttpPool
    pool: Pool
    home: ModelsHome
    terms: Terms
    steps: list[str] = field(default_factory=list)

    async def pull(self, model: CatalogModel, **manner: object) -> Pulled:
        """Pull a model."""

        def note(step: str, _name: str, _done: int, _total: int) -> None:
            self.steps.append(step)

        how = replace(Manner(terms=self.terms, progress=note), **manner)  # type: ignore[arg-type]
        return await pull(model, self.home, self.http, self.pool, how)

    def llm(self, content: bytes, **changes: object) -> CatalogModel:
        """Offer a language model."""
        self.server.serve(f"/{NAME}.gguf", whole(content))
        return an_entry("llm", NAME, {f"{NAME}.gguf": content}, self.server.url(""), **changes)

    def voice(self, files: tuple[bytes, bytes], **changes: object) -> CatalogModel:
        """Offer a voice."""
        named = dict(zip((f"{VOICE}.onnx", f"{VOICE}.onnx.json"), files, strict=True))
        for name, content in named.items():
            self.server.serve(f"/{name}", whole(content))
        return an_entry("piper", VOICE, named, self.server.url(""), **changes)

    def vosk(self, archive: bytes, **changes: object) -> CatalogModel:
        """Offer a recognizer."""
        name = "vosk-model-small-en-test"
        self.server.serve(f"/{name}.zip", whole(archive))
        return an_entry("vosk", name, {f"{name}.zip": archive}, self.server.url(""), **changes)

    @property
    def tidy(self) -> bool:
        """Nothing is left of what was on its way."""
        return not [*(self.home.root / ".pull").glob("*")]

    async def verified(self, model: CatalogModel) -> Verdict:
        """What `verify` finds."""

        def verify() -> Verdict:
            verdict = Verdict()
            (found,) = [entry for entry in survey(Catalog(models=(model,)), self.home) if entry.model is not None]
            for _ in verify_steps(found, self.home, verdict):
                pass
            return verdict

        return await self.pool.run(verify)


@asynccontextmanager
async def a_rig(tmp_path: Path, **terms: object) -> AsyncIterator[Rig]:
    """Pauses take no time."""

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    how = replace(Terms(sleep=sleep, tries=2), **terms)  # type: ignore[arg-type]
    pool = Pool("models")
    try:
        async with hostile_server() as server, open_http(HttpLimits(read_s=5)) as http:
            yield Rig(server, http, pool, ModelsHome(tmp_path / "models"), how)
    finally:
        await pool.close()


async def test_a_language_model_is_pulled_and_proved(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """By llama.cpp itself; the second time there is nothing to do, and the server is not asked."""
    async with a_rig(tmp_path) as rig:
        model = rig.llm(gguf_files[1])
        pulled = await rig.pull(model)
        assert pulled.path == rig.home.root / "llm" / f"{NAME}.gguf"
        assert pulled.path.read_bytes() == gguf_files[1]
        assert (pulled.is_new, dict(pulled.pinned)) == (True, {})
        assert list(dict.fromkeys(rig.steps)) == ["download", "check", "prove"]
        assert rig.tidy
        assert not (await rig.pull(model)).is_new
        assert len(rig.server.asked) == 1
        assert await rig.verified(model) == Verdict("", "published")


async def test_a_voice_is_two_files_that_come_together(
    tmp_path: Path, voice_files: dict[int, tuple[bytes, bytes]]
) -> None:
    """In a directory of their own, so that they change at once."""
    async with a_rig(tmp_path) as rig:
        pulled = await rig.pull(rig.voice(voice_files[1]))
        assert pulled.path == rig.home.root / "piper" / VOICE / f"{VOICE}.onnx"
        assert sorted(path.name for path in pulled.path.parent.iterdir()) == [
            ".edge-agent.json",
            f"{VOICE}.onnx",
            f"{VOICE}.onnx.json",
        ]
        other = rig.voice(voice_files[2])
        assert (await rig.pull(other)).is_new
        assert pulled.path.read_bytes() == voice_files[2][0]
        assert await rig.verified(other) == Verdict("", "published")
        assert rig.tidy


async def test_a_recognizer_is_unpacked_and_proved(tmp_path: Path, vosk_archive: bytes) -> None:
    """By Kaldi itself, beside its place."""
    async with a_rig(tmp_path) as rig:
        model = rig.vosk(vosk_archive)
        pulled = await rig.pull(model)
        assert pulled.path == rig.home.root / "vosk" / model.id
        assert (pulled.path / "am" / "final.mdl").is_file()
        assert await rig.verified(model) == Verdict("", "published")
        assert rig.tidy
        assert not (await rig.pull(model)).is_new


async def test_what_does_not_work_is_not_put_in_place(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """Whole, with the right checksum, and useless: the good one stays."""
    async with a_rig(tmp_path) as rig:
        pulled = await rig.pull(rig.llm(gguf_files[1]))
        for bad in (b"GGUF" + bytes(1000), b"<html>", gguf_files[1][: len(gguf_files[1]) // 2]):
            with pytest.raises(ProofError, match="came whole, but does not work and is not put in place"):
                await rig.pull(rig.llm(bad))
            assert pulled.path.read_bytes() == gguf_files[1]
            assert rig.tidy
            assert hashlib.sha256(bad).hexdigest() not in rig.home.pins.read_text()


@pytest.mark.parametrize("broken", ["onnx", "json", "settings"])
async def test_half_a_voice_is_not_put_in_place(
    tmp_path: Path, voice_files: dict[int, tuple[bytes, bytes]], broken: str
) -> None:
    """Weights that end in the middle, settings that are no JSON, or another program's."""
    onnx, settings = voice_files[2]
    bad = {
        "onnx": (onnx[: len(onnx) // 2], settings),
        "json": (onnx, settings[:-10]),
        "settings": (onnx, json.dumps({"phoneme_id_map": {}, "audio": {"sample_rate": 22050}}).encode()),
    }[broken]
    async with a_rig(tmp_path) as rig:
        good = rig.voice(voice_files[1])
        pulled = await rig.pull(good)
        with pytest.raises(ProofError):
            await rig.pull(rig.voice(bad))
        assert await rig.verified(good) == Verdict("", "published")
        assert pulled.path.read_bytes() == voice_files[1][0]


async def test_the_first_download_without_a_checksum_is_pinned(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """And later ones are held to it, unless told otherwise."""
    async with a_rig(tmp_path) as rig:
        pulled = await rig.pull(rig.llm(gguf_files[1], sha256=False))
        sha256 = hashlib.sha256(gguf_files[1]).hexdigest()
        assert pulled.pinned == {f"{NAME}.gguf": sha256}
        pulled.path.unlink()
        other = rig.llm(gguf_files[2], sha256=False)
        with pytest.raises(DownloadError, match=rf"{sha256} is expected since the first download on 20.*--repin"):
            await rig.pull(other)
        assert not pulled.path.exists()
        assert list((await rig.pull(other, repin=True)).pinned) == [f"{NAME}.gguf"]
        assert pulled.path.read_bytes() == gguf_files[2]
        assert await rig.verified(other) == Verdict("", "pinned")


async def test_a_damaged_model_is_put_right(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """What was changed since is seen by its time, and fetched again."""
    async with a_rig(tmp_path) as rig:
        model = rig.llm(gguf_files[1])
        pulled = await rig.pull(model)
        damaged = bytearray(gguf_files[1])
        damaged[-1] ^= 1
        pulled.path.write_bytes(damaged)
        os.utime(pulled.path, (1, 1))
        assert "is not what was downloaded" in (await rig.verified(model)).fault
        assert (await rig.pull(model)).is_new
        assert pulled.path.read_bytes() == gguf_files[1]


@pytest.mark.parametrize("kind", ["llm", "voice", "vosk"])
async def test_a_flipped_bit_is_put_right_where_it_is_looked_for(
    tmp_path: Path,
    gguf_files: dict[int, bytes],
    voice_files: dict[int, tuple[bytes, bytes]],
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    """Neither size nor time tell of it: checksums are compared, unless a quick look is asked for."""
    async with a_rig(tmp_path) as rig:
        model = {
            "llm": lambda: rig.llm(gguf_files[1], sha256=False),
            "voice": lambda: rig.voice(voice_files[1]),
            "vosk": lambda: rig.vosk(request.getfixturevalue("vosk_archive")),
        }[kind]()
        path = (await rig.pull(model)).path
        path = path / "am" / "final.mdl" if path.is_dir() else path
        before, good = path.stat(), path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert "is not what was downloaded" in (await rig.verified(model)).fault
        assert not (await rig.pull(model, is_thorough=False)).is_new
        assert (await rig.pull(model)).is_new
        assert path.read_bytes() == good
        assert not (await rig.pull(model)).is_new


async def test_what_somebody_put_there_by_hand_is_taken_as_it_is(
    tmp_path: Path, gguf_files: dict[int, bytes], voice_files: dict[int, tuple[bytes, bytes]]
) -> None:
    """Where its checksum is the published one; nothing is asked for."""
    async with a_rig(tmp_path) as rig:
        llm, voice = rig.llm(gguf_files[1]), rig.voice(voice_files[1])
        (rig.home.root / "llm").mkdir(parents=True)
        (rig.home.root / "piper").mkdir()
        (rig.home.root / "llm" / f"{NAME}.gguf").write_bytes(gguf_files[1])
        for ending, content in zip((".onnx", ".onnx.json"), voice_files[1], strict=True):
            (rig.home.root / "piper" / f"{VOICE}{ending}").write_bytes(content)
        assert not (await rig.pull(llm)).is_new
        pulled = await rig.pull(voice)
        assert (pulled.is_new, pulled.path) == (False, rig.home.root / "piper" / f"{VOICE}.onnx")
        assert not rig.server.asked
        assert await rig.verified(voice) == Verdict("", "published")


async def test_mirrors_come_first_and_directories_alone(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """By name, by path, and by file:; what is pinned says where it came from."""
    async with a_rig(tmp_path) as rig:
        model = rig.llm(gguf_files[1])
        rig.server.serve(f"/flat/{NAME}.gguf", status(404))
        rig.server.serve(f"/deep/{NAME}.gguf", whole(gguf_files[1]))
        mirrors = (rig.server.url("/flat/"), rig.server.url("/deep{path}"))
        await rig.pull(model, mirrors=mirrors)
        assert [asked.path for asked in rig.server.asked] == [f"/flat/{NAME}.gguf", f"/deep/{NAME}.gguf"]
        assert f"/deep/{NAME}.gguf" in rig.home.pins.read_text()
        stick = tmp_path / "stick"
        stick.mkdir()
        (rig.home.root / "llm" / f"{NAME}.gguf").unlink()
        with pytest.raises(DownloadError, match="no such file"):
            await rig.pull(model, directory=stick)
        (stick / f"{NAME}.gguf").write_bytes(gguf_files[1])
        assert (await rig.pull(model, directory=stick)).is_new
        assert len(rig.server.asked) == 2


async def test_two_pulls_of_one_model_don_t_meet(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """The second is told; when the first has ended it may."""
    async with a_rig(tmp_path) as rig:
        model = rig.llm(gguf_files[1])
        rig.server.serve(f"/{NAME}.gguf", whole(gguf_files[1], stalls_at=100), whole(gguf_files[1]))
        first = asyncio.create_task(rig.pull(model))
        await until(lambda: rig.server.asked)
        with pytest.raises(ModelBusyError, match="is being pulled or removed by somebody else already"):
            await rig.pull(model)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await rig.pull(model)).is_new


async def test_without_room_nothing_is_begun(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """Not one request."""
    async with a_rig(tmp_path, free_bytes=lambda _: 64 * MIB) as rig:
        with pytest.raises(RoomError, match=r"set directories\.models to another disk"):
            await rig.pull(rig.llm(gguf_files[1]))
        assert not rig.server.asked


async def test_a_download_that_breaks_off_leaves_what_was_there(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """And goes on where it was."""
    async with a_rig(tmp_path) as rig:
        pulled = await rig.pull(rig.llm(gguf_files[1]))
        model = rig.llm(gguf_files[2])
        url = rig.server.serve(f"/{NAME}.gguf", whole(gguf_files[2], stalls_at=3000))
        pulling_it = asyncio.create_task(rig.pull(model))
        await until(lambda: len(rig.server.asked) == 2)
        pulling_it.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling_it
        assert pulled.path.read_bytes() == gguf_files[1]
        rig.server.serve(f"/{NAME}.gguf", hang_up)
        with pytest.raises(DownloadError, match=f"{url}: the server closed the connection"):
            await rig.pull(model)
        assert pulled.path.read_bytes() == gguf_files[1]


def files_below(directory: Path) -> list[Path]:
    """All of them."""
    return [path for path in directory.rglob("*") if path.is_file()]


class PowerCutError(BaseException):
    """The machine is gone from here on."""


CUTS: list[tuple[object, str]] = [
    (pulling, "remove"),
    (pulling, "make_directory"),
    (pulling, "put_in_place"),
    (pulling, "sync"),
    (layout, "sync"),
    (layout, "write_durably"),
    (layout, "_exchange"),
]


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
@pytest.mark.parametrize("place", CUTS, ids=[f"{getattr(m, '__name__', '')}.{n}" for m, n in CUTS])
async def test_a_power_cut_leaves_the_old_or_the_new(
    tmp_path: Path,
    voice_files: dict[int, tuple[bytes, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[object, str],
    nth: int,
) -> None:
    """At any step of putting in place; and the next pull ends well."""
    monkeypatch.setattr(pulling, "find_fault", lambda *_: None)
    async with a_rig(tmp_path) as rig:
        pulled = await rig.pull(rig.voice(voice_files[1]))
        new = rig.voice(voice_files[2])
        module, name = place
        real: Callable[..., object] = getattr(module, name)
        calls = 0

        def cut(*arguments: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise PowerCutError
            return real(*arguments, **more)

        with monkeypatch.context() as patched:
            patched.setattr(module, name, cut)
            with suppress(PowerCutError):
                await rig.pull(new)
        pair = (pulled.path.read_bytes(), pulled.path.with_name(f"{VOICE}.onnx.json").read_bytes())
        assert pair in voice_files.values()
        await rig.pull(new)
        assert pulled.path.read_bytes() == voice_files[2][0]
        assert await rig.verified(new) == Verdict("", "published")


async def test_where_names_can_t_be_exchanged_directories_are_moved(
    tmp_path: Path, voice_files: dict[int, tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that knows no RENAME_EXCHANGE."""
    monkeypatch.setattr(pulling, "find_fault", lambda *_: None)
    monkeypatch.setattr(layout, "_exchange", lambda *_: False)
    async with a_rig(tmp_path) as rig:
        pulled = await rig.pull(rig.voice(voice_files[1]))
        await rig.pull(rig.voice(voice_files[2]))
        assert pulled.path.read_bytes() == voice_files[2][0]
        assert rig.tidy


async def test_something_else_in_its_place_is_left_alone(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """A link to another disk, for example."""
    async with a_rig(tmp_path) as rig:
        model = rig.llm(gguf_files[1])
        (rig.home.root / "llm").mkdir(parents=True)
        (tmp_path / "elsewhere.gguf").write_bytes(b"mine")
        (rig.home.root / "llm" / f"{NAME}.gguf").symlink_to(tmp_path / "elsewhere.gguf")
        with pytest.raises(PlaceError, match="is something else than a model that was pulled"):
            await rig.pull(model)
        assert (tmp_path / "elsewhere.gguf").read_bytes() == b"mine"


async def test_an_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    """And not kept: going on with it would lead nowhere."""
    async with a_rig(tmp_path) as rig:
        with pytest.raises(ArchiveError, match=r"vosk-model-small-en-test.zip is refused: it is no zip archive"):
            await rig.pull(rig.vosk(b"<html>not here</html>"))
        assert rig.tidy
        assert not (rig.home.root / "vosk").exists()


@pytest.mark.parametrize("evil", ["../../evil", "/tmp/evil", "vosk-model-small-en-test/../../../evil"])
async def test_an_archive_that_leads_out_is_refused(tmp_path: Path, evil: str) -> None:
    """Though its checksum is the published one; nothing of it is anywhere."""
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("vosk-model-small-en-test/README", "hello")
        file.writestr(evil, "evil")
    async with a_rig(tmp_path) as rig:
        with pytest.raises(ArchiveError, match=r"vosk-model-small-en-test\.zip is refused"):
            await rig.pull(rig.vosk(archive.read_bytes()))
        assert rig.tidy
    assert files_below(tmp_path) == [archive]


async def test_damaged_pins_are_told(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """They are not thrown away in silence."""
    async with a_rig(tmp_path) as rig:
        rig.home.root.mkdir()
        rig.home.pins.write_text("{")
        with pytest.raises(PlaceError, match=r"pins\.json: is damaged; remove it"):
            await rig.pull(rig.llm(gguf_files[1]))
