"""Root becomes the owner of the models directory before it touches anything there."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import assert_one_complaint, isolated
from model_files import an_entry, as_toml

from edge_agent.models.catalog import CatalogModel
from edge_agent.models.identity import as_typed, owner_of

NOBODY, STRANGER = 65534, 4242
NAME = "tiny-instruct"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def seen(**owners: int) -> Callable[[Path], os.stat_result]:
    """Return an lstat that knows these paths below /no, and that directories above are root's; `_link` makes one."""
    known = {f"/no/{name.removesuffix('_link').replace('__', '/')}": (name, uid) for name, uid in owners.items()}

    def lstat(path: Path) -> os.stat_result:
        name, uid = ("", 0) if str(path) in {"/", "/no"} else known.get(str(path), (None, 0))
        if name is None:
            raise FileNotFoundError(path)
        kind = stat.S_IFLNK if name.endswith("_link") else stat.S_IFDIR
        return os.stat_result((kind | 0o755, 0, 0, 0, uid, uid, 0, 0, 0, 0))

    return lstat


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ({"state": 0, "state__models": 0}, None),
        ({"state": STRANGER, "state__models": STRANGER}, STRANGER),
        ({"state": STRANGER}, STRANGER),
        ({"state": STRANGER, "state__models": 0}, STRANGER),
        ({"state": 0, "state__models": NOBODY}, NOBODY),
        ({"state": STRANGER, "state__models": NOBODY}, NOBODY),
        ({"state": STRANGER, "state__models_link": STRANGER}, STRANGER),
        ({"state": STRANGER, "state__models_link": 0}, STRANGER),
        ({"state_link": STRANGER, "state__models": NOBODY}, STRANGER),
    ],
    ids=["root", "owner", "not-there", "root-in-owner", "given", "two", "link", "root-link", "link-above"],
)
def test_who_owns_the_directory_has_the_say(owners: dict[str, int], expected: int | None) -> None:
    """Or what it is to be made in, or who made a link on the way there: that may lead to anybody's files."""
    found = owner_of(Path("/no/state/models"), seen(**owners))
    assert (None if found is None else found.uid) == expected


def test_the_command_is_told_as_it_is_to_be_typed(tmp_path: Path) -> None:
    """With sudo where the directory, or what it is to be made in, is another user's."""
    mine, other = os.getuid(), os.getuid() + 1
    for root in (tmp_path, tmp_path / "not" / "there"):
        assert as_typed(root, "models pull a", {}) == "edge-agent models pull a"
        assert as_typed(root, "models pull a", {"SUDO_UID": str(mine)}) == "edge-agent models pull a"
        assert as_typed(root, "models pull a", {"SUDO_UID": str(other)}) == "sudo edge-agent models pull a"


@pytest.fixture
def device() -> Iterator[Path]:
    """A place that everybody may look into, with a state directory that is nobody's and files that are root's."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    state = place / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    for name in ("victim", "stick", "home"):
        (place / name).mkdir()
    (place / "config.toml").write_text('[directories]\nmodels = "state/models"\n')
    (place / "config.toml").chmod(0o600)
    yield place
    shutil.rmtree(place)


def offer(device: Path, content: bytes) -> CatalogModel:
    """Put a model on the stick."""
    (device / "stick" / f"{NAME}.gguf").write_bytes(content)
    model = an_entry("llm", NAME, {f"{NAME}.gguf": content}, "https://models.example.com")
    (device / "catalog.toml").write_text(as_toml(model))
    return model


def run(device: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `edge-agent models` as root."""
    options = ("--config", "config.toml", "--catalog", "catalog.toml")
    return subprocess.run(
        [sys.executable, "-P", "-m", "edge_agent", "models", *arguments, *options],
        cwd=device,
        env=isolated(device / "home", {"XDG_CACHE_HOME": str(device / "home")}),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@needs_root
def test_root_pulls_verifies_and_removes_as_the_owner(device: Path, gguf_files: dict[int, bytes]) -> None:
    """From a configuration that only root may read; all that is made is the owner's."""
    offer(device, gguf_files[1])
    done = run(device, "pull", NAME, "--from", "stick")
    assert done.returncode == 0, done.stderr
    made = [device / "state" / "models", *(device / "state" / "models").rglob("*")]
    assert device / "state" / "models" / "llm" / f"{NAME}.gguf" in made
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NOBODY, NOBODY)}
    assert run(device, "verify").returncode == 0
    assert run(device, "remove", NAME).returncode == 0
    assert not (device / "state" / "models" / "llm" / f"{NAME}.gguf").exists()
    assert not list((device / "home").iterdir())


@needs_root
@pytest.mark.parametrize("link", ["models", "models/llm", "models/.pull", f"models/.pull/{NAME}"])
def test_a_link_leads_root_nowhere(device: Path, gguf_files: dict[int, bytes], link: str) -> None:
    """Whatever of the directory is a link to root's own files: those stay as they are."""
    offer(device, gguf_files[1])
    victim = device / "victim"
    for name in ("new", NAME, f"{NAME}.gguf"):
        (victim / name).mkdir() if name != f"{NAME}.gguf" else (victim / name).write_bytes(b"root's")
    (victim / "new" / "file").write_bytes(b"root's")
    place = device / "state" / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(victim)
    for path in [place, *place.parents]:
        if path.is_relative_to(device / "state"):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    before = {path: (path.stat().st_uid, path.stat().st_mtime_ns) for path in [victim, *victim.rglob("*")]}
    assert_one_complaint(run(device, "pull", NAME, "--from", "stick", "--json"), "Permission denied", status=1)
    run(device, "remove", NAME)
    assert {path: (path.stat().st_uid, path.stat().st_mtime_ns) for path in [victim, *victim.rglob("*")]} == before


@needs_root
def test_what_only_root_may_read_is_told(device: Path, gguf_files: dict[int, bytes]) -> None:
    """The directory, one above it, or the file in it: a line that names it, and a remedy."""
    offer(device, gguf_files[1])
    stick, secret = device / "stick", device / "victim" / "stick"
    secret.mkdir()
    (device / "victim").chmod(0o700)
    assert_one_complaint(run(device, "pull", NAME, "--from", str(secret)), f"{secret}: can't be read by nobody")
    mirror = secret.as_uri()
    assert_one_complaint(run(device, "pull", NAME, "--mirror", mirror), f"{mirror}: can't be read by nobody", "a+rX")
    (stick / f"{NAME}.gguf").chmod(0o600)
    done = run(device, "pull", NAME, "--from", "stick", "--json")
    assert_one_complaint(done, f"{NAME}.gguf: can't be read by nobody", "chmod a+rX", status=1)
    assert json.loads(done.stdout)[0]["ok"] is False
    stick.chmod(0o700)
    assert_one_complaint(run(device, "pull", NAME, "--from", "stick"), "stick: can't be read by nobody, as whom")
