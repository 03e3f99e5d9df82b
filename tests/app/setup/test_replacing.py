"""Files are replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge_agent.app.setup.errors import NotSavedError
from edge_agent.app.setup.replacing import NewContent, Ownership, replace_all

OWN = Ownership(0o640)


def mode(path: Path) -> int:
    """Return who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_keeps_its_mode_and_leaves_the_one_before(tmp_path: Path) -> None:
    """The backup has the old content and the same mode; nothing else is left."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"old")
    path.chmod(0o604)
    assert replace_all([NewContent(path, b"new", OWN, keeps_backup=True)]) == [path]
    assert path.read_bytes() == b"new"
    assert (tmp_path / "config.toml.bak").read_bytes() == b"old"
    assert [mode(file) for file in sorted(tmp_path.iterdir())] == [0o604, 0o604]


def test_what_is_the_same_is_not_touched(tmp_path: Path) -> None:
    """Neither the file nor the backup of an earlier change."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"same")
    before = path.stat()
    assert replace_all([NewContent(path, b"same", OWN, keeps_backup=True)]) == []
    assert path.stat() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_is_private_whatever_it_was(tmp_path: Path) -> None:
    """Also where its content is right and others could read it."""
    path = tmp_path / "made" / "password"
    secret = NewContent(path, b"s\n", Ownership(0o600), is_secret=True)
    assert replace_all([secret]) == [path]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    path.chmod(0o644)
    assert replace_all([secret]) == [path]
    assert mode(path) == 0o600


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_crash_between_writing_and_renaming_leaves_whole_files(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever rename it is: each file holds the old or the new, and the next run succeeds."""
    config, password = tmp_path / "config.toml", tmp_path / "password"
    config.write_bytes(b"old")
    password.write_bytes(b"old secret")
    files = [
        NewContent(password, b"new secret", Ownership(0o600), is_secret=True),
        NewContent(config, b"new", OWN, keeps_backup=True),
    ]
    done = 0
    rename = Path.replace

    def die(self: Path, target: Path) -> Path:
        nonlocal done
        if done == at:
            raise KeyboardInterrupt
        done += 1
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            replace_all(files)
    assert config.read_bytes() == b"old"  # it is the last to be renamed
    assert password.read_bytes() == (b"old secret" if at == 0 else b"new secret")
    assert not list(tmp_path.glob(".*.new"))
    replace_all(files)
    assert (config.read_bytes(), password.read_bytes()) == (b"new", b"new secret")


def test_what_a_lost_run_left_is_no_hindrance(tmp_path: Path) -> None:
    """A temporary file of a run that lost its power is replaced, and never followed where it is a link."""
    path, elsewhere = tmp_path / "config.toml", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (tmp_path / ".config.toml.new").symlink_to(elsewhere)
    replace_all([NewContent(path, b"new", OWN)])
    assert (path.read_bytes(), elsewhere.read_bytes()) == (b"new", b"mine")


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file, and no file was renamed."""
    path, other = tmp_path / "config.toml", tmp_path / "other"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotSavedError, match="No space left on device; nothing was changed"):
        replace_all([NewContent(other, b"x", OWN), NewContent(path, b"new", OWN)])
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]
    assert path.read_bytes() == b"old"
