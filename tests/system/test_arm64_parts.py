"""What of the arm64 rig needs no other architecture."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from system import arm64_root, arm64_wheels

_HERE = Path(__file__).parent
_TREE = _HERE.parents[1]
_SCRIPT = _HERE / "arm64_wheel.sh"


def test_an_extra_is_followed_into_the_extras_it_is_made_of() -> None:
    """`standard` is `embedded` and the large engines; what the project always needs is part of it."""
    names = [requirement.name for requirement in arm64_wheels.requirements(_TREE, "standard")]
    assert {"click", "pocketsphinx", "lgpio", "vosk", "piper-tts", "llama-cpp-python", "systemd-python"} <= set(names)
    assert "edge-agent" not in names
    assert "pytest" not in names
    assert len(names) == len(set(names))


def test_a_wheel_for_a_newer_c_library_is_none() -> None:
    """Debian 12 has glibc 2.36: what needs 2.37 does not run there."""
    found = arm64_wheels.platforms(36)
    assert {"manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_36_aarch64"} <= set(found)
    assert "manylinux_2_37_aarch64" not in found
    assert all(name.endswith("_aarch64") for name in found)


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ("enabled\ninterpreter /usr/bin/q\nflags: PF\noffset 0\nmagic {magic}\nmask ff\n", True),
        ("enabled\ninterpreter /usr/bin/q\nflags: \noffset 0\nmagic {magic}\nmask ff\n", False),
        ("disabled\ninterpreter /usr/bin/q\nflags: F\noffset 0\nmagic {magic}\nmask ff\n", False),
        ("enabled\ninterpreter /usr/bin/q\nflags: F\noffset 0\nmagic 7f454c4602010100\nmask ff\n", False),
    ],
    ids=["fixed", "not-fixed", "disabled", "another-architecture"],
)
def test_an_entry_serves_where_it_is_enabled_and_its_interpreter_is_open(
    tmp_path: Path, said: str, *, is_one: bool
) -> None:
    """Without F the interpreter would be looked for in the root, which has none."""
    entry = tmp_path / "qemu-aarch64"
    entry.write_text(said.format(magic="7f454c460201010000000000000000000200b700"), encoding="ascii")
    assert arm64_root._runs_arm64(entry) is is_one


@pytest.mark.parametrize("arguments", [(), ("--march",), ("--fast", "x"), ("a", "b")])
def test_wrong_usage_of_the_cross_compiler_is_one_line(arguments: tuple[str, ...]) -> None:
    """Status 2, before anything is made."""
    done = subprocess.run([_SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("arm64_wheel.sh: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_cross_compiler_explains_itself() -> None:
    """--help, on standard output."""
    done = subprocess.run([_SCRIPT, "--help"], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--march ARCH" in done.stdout
