"""Wheels for an arm64 root, brought here natively: pip and a compiler under qemu take many times as long."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

_HERE = Path(__file__).parent
_OLDEST_GLIBC = 17
_FETCH_S = 1800
_COMPILE_S = 7200
_LACKING = re.compile(r"No matching distribution found for ([A-Za-z0-9_.-]+)")
COMPILED = frozenset({"llama-cpp-python", "systemd-python"})
"""Have no wheels for Arm at the registry: the first is cross-compiled here, the second compiled in the root."""


def requirements(tree: Path, extra: str) -> Iterator[Requirement]:
    """Name what an extra of the project needs, those extras included that it is made of."""
    project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    yield from map(Requirement, project["dependencies"])
    waiting, seen = [extra], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for requirement in map(Requirement, project["optional-dependencies"][name]):
            if requirement.name == project["name"]:
                waiting += sorted(requirement.extras)
            else:
                yield requirement


def platforms(glibc_minor: int) -> list[str]:
    """Name the platforms whose wheels run on 64-bit Arm with glibc 2.`glibc_minor`."""
    return ["linux_aarch64", "manylinux2014_aarch64"] + [
        f"manylinux_2_{minor}_aarch64" for minor in range(_OLDEST_GLIBC, glibc_minor + 1)
    ]


def fetch(wanted: Iterable[Requirement], directory: Path, *, python: str, glibc_minor: int) -> list[str]:
    """Download wheels into `directory`; return the names of what has none, which is left out.

    What is pure Python and has no wheel at the registry is built here.
    """
    directory.mkdir(parents=True, exist_ok=True)
    left = {str(requirement) for requirement in wanted if requirement.name not in COMPILED}
    lacking: list[str] = []
    while True:
        name = _download(sorted(left), directory, python, glibc_minor)
        if name is None:
            return lacking
        assert name not in lacking, f"{name} has no wheel, and something that is needed needs it"
        if _build_pure(name, directory):
            continue
        lacking.append(name)
        left = {requirement for requirement in left if Requirement(requirement).name != name}


def _download(wanted: list[str], directory: Path, python: str, glibc_minor: int) -> str | None:
    """Download all of it; return the name of the first that has no wheel, or None."""
    places = [f"--platform={platform}" for platform in platforms(glibc_minor)]
    how = ["--disable-pip-version-check", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            *how,
            f"--find-links={directory}",
            f"--dest={directory}",
            *places,
            *wanted,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_FETCH_S,
        check=False,
    )
    if done.returncode == 0:
        return None
    found = _LACKING.search(done.stderr)
    assert found is not None, done.stderr[-4000:]
    return found.group(1)


def _build_pure(name: str, directory: Path) -> bool:
    """Build a wheel of it where that is the same on every machine."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", f"--wheel-dir={directory}", name]
    before = set(directory.iterdir())
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_FETCH_S, check=False)
    made = set(directory.iterdir()) - before
    foreign = [wheel for wheel in made if not wheel.name.endswith("-none-any.whl")]
    for wheel in foreign:
        wheel.unlink()
    return done.returncode == 0 and bool(made) and not foreign


def cross_compile(directory: Path, march: str = "armv8-a") -> str:
    """Compile llama-cpp-python into `directory`, unless a wheel of it is there; return what was said."""
    if list(directory.glob("llama_cpp_python-*_aarch64.whl")):
        return "there already"
    done = subprocess.run(
        [_HERE / "arm64_wheel.sh", "--march", march, directory],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_COMPILE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout.splitlines()[-1]
