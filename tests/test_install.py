"""install.sh: its usage, what it makes of apt's, pip's and ninja's output, and its verdict on a conversation."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with nothing but install.sh, which keeps all it makes beside itself."""
    shutil.copy(_ROOT / "install.sh", tmp_path)
    shutil.copytree(_ROOT / "systemd", tmp_path / "systemd")
    (tmp_path / "build").mkdir()
    return tmp_path


def _bash(
    checkout: Path, *arguments: str, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", *arguments],
        cwd=checkout,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(environment or {})},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def _call(checkout: Path, code: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `code` with install.sh's functions."""
    return _bash(checkout, "-c", f"source ./install.sh; verb=try; {code}", stdin=stdin)


_PARTS = sorted(str(path.relative_to(_ROOT)) for path in (_ROOT / "systemd/install").glob("*.sh"))


@pytest.mark.parametrize("script", ["install.sh", ".ci/run", *_PARTS])
def test_bash_can_read_it(script: str) -> None:
    """The scripts are bash."""
    done = _bash(_ROOT, "-n", script)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("try", "--help")])
def test_help_names_the_verbs(checkout: Path, arguments: tuple[str, ...]) -> None:
    """Help goes to standard output and sets nothing up."""
    done = _bash(checkout, "install.sh", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "install.sh try" in done.stdout
    assert "install.sh test" in done.stdout
    assert not (checkout / ".venv").exists()


def test_without_a_verb_only_root_installs(checkout: Path) -> None:
    """Nobody gets a service by accident: without root it asks what to do."""
    done = _call(checkout, "is_root() { false; }; main")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "try or test" in done.stderr


@pytest.mark.parametrize("script", ["install.sh", ".ci/run"])
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    """The scripts, and what they source, are free of what shellcheck knows to go wrong."""
    done = subprocess.run(["shellcheck", "-x", script], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("arguments", [("fly",), ("try", "--large")])
def test_wrong_usage_is_one_line_and_status_2(checkout: Path, arguments: tuple[str, ...]) -> None:
    """What it does not understand is named in one line."""
    done = _bash(checkout, "install.sh", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert all(argument in done.stderr for argument in arguments)


def test_an_unknown_processor_is_named(checkout: Path) -> None:
    """Where there are no wheels for the processor it stops before anything is installed."""
    shims = checkout / "shims"
    shims.mkdir()
    (shims / "uname").write_text("#!/bin/sh\necho armv7l\n")
    (shims / "uname").chmod(0o755)
    done = _bash(checkout, "install.sh", "try", environment={"PATH": f"{shims}:/usr/bin:/bin"})
    assert done.returncode == 1
    assert "armv7l" in done.stderr
    assert "[2/6]" not in done.stdout


def test_one_at_a_time(checkout: Path) -> None:
    """A second run in the same checkout is refused while the first is at work."""
    done = _bash(checkout, "-c", "flock install.sh bash install.sh try")
    assert done.returncode == 1
    assert "Another install.sh" in done.stderr


def test_its_extras_are_the_standard_installation(checkout: Path) -> None:
    """What install.sh installs in two steps is what pyproject.toml calls standard."""
    done = _call(checkout, 'IFS=,; echo "${core_extras[*]},${llm_extras[*]}"')
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["standard"] == [f"edge-agent[{done.stdout.strip()}]"]


@pytest.mark.parametrize(
    ("small", "verb", "some", "none"),
    [
        ("true", "try", {"flite", "libportaudio2"}, {"cmake", "mosquitto"}),
        ("false", "try", {"flite", "cmake", "g++"}, {"mosquitto"}),
        ("false", "test", {"cmake", "mosquitto", "pulseaudio", "shellcheck"}, {"libgomp1"}),
        ("false", "install", {"flite", "g++", "libsystemd-dev"}, {"mosquitto", "libgomp1", "libasound2-plugins"}),
    ],
)
def test_debian_packages_have_a_reason(checkout: Path, small: str, verb: str, some: set[str], none: set[str]) -> None:
    """Each Debian package comes with a reason, and only those that the verb needs."""
    rows = _call(checkout, f"small={small}; verb={verb}; debian_packages").stdout.splitlines()
    reasons = dict(row.split(maxsplit=1) for row in rows)
    assert len(reasons) == len(rows)
    assert some <= reasons.keys()
    assert not none & reasons.keys()


def test_a_whole_wheelhouse_needs_no_compiler(checkout: Path) -> None:
    """Where everything that would be compiled is there as a wheel, no compiler is installed."""
    python, machine = f"cp{sys.version_info[0]}{sys.version_info[1]}", platform.machine()
    code = "small=false; verb=install; wheelhouse=$PWD/wheels; needs_compiler && echo compiles; "
    code += "builds=false; debian_packages"
    wheels = checkout / "wheels"
    native = Path(_call(checkout, "wheelhouse=$PWD/wheels; native_wheels").stdout.strip())
    native.mkdir(parents=True)
    assert _call(checkout, code).stdout.startswith("compiles\n")
    for name in ("systemd_python-235", "lgpio-0.2.2.0"):
        (wheels / f"{name}-{python}-{python}-linux_{machine}.whl").touch()
    (wheels / f"llama_cpp_python-0.3-py3-none-linux_{'aarch64' if machine == 'x86_64' else 'x86_64'}.whl").touch()
    assert _call(checkout, code).stdout.startswith("compiles\n")
    (native / f"llama_cpp_python-0.3-py3-none-linux_{machine}.whl").touch()
    told = _call(checkout, code).stdout
    assert "compiles" not in told
    assert "libgomp1" in told
    assert not {"gcc", "g++", "cmake", "libpython3-dev"} & {line.split()[0] for line in told.splitlines()}


@pytest.mark.parametrize(
    ("memory_mib", "cores", "jobs"), [(420, 4, 1), (1900, 4, 1), (3500, 4, 3), (7800, 4, 4), (64000, 2, 2)]
)
def test_jobs_fit_memory_and_cores(checkout: Path, memory_mib: int, cores: int, jobs: int) -> None:
    """One compiler a GiB, no more than cores, at least one."""
    assert _call(checkout, f"jobs_for {memory_mib} {cores}").stdout.strip() == str(jobs)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  [4/80] /usr/bin/g++ -O3 -c ggml.cpp", "compiling 4 of 80, 5 %"),
        ("  [20/80] /usr/bin/g++ -O3 -c ggml.cpp", "compiling 20 of 80, 25 %, about 1 min 30 s left"),
        ("Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]", "reading the lists of packages"),
        (
            "Get:7 http://deb.debian.org/debian bookworm/main amd64 gcc-12 amd64 12.2.0-14 [19.3 MB]",
            "downloading gcc-12",
        ),
        ("Setting up flite (2.2-5) ...", "setting up flite"),
        ("  Downloading vosk-0.3.45-py3-none-any.whl (7.2 MB)", "downloading vosk (7.2 MB)"),
        ("  Downloading https://example.org/a/soxr-1.1.0.tar.gz (9 kB)", "downloading soxr (9 kB)"),
        ("Collecting numpy>=1.26", "looking at numpy"),
        (
            "Processing /media/stick/wheels/soxr-1.1.0-cp311-cp311-linux_x86_64.whl (from edge-agent==0.1)",
            "looking at soxr",
        ),
        ("  Building wheel for lgpio (pyproject.toml): started", "building lgpio"),
        ("Requirement already satisfied: numpy", "as before"),
    ],
)
def test_progress_tells_the_line_that_matters(checkout: Path, line: str, shown: str) -> None:
    """Output of apt, pip and ninja becomes a few words; what tells nothing leaves them as they are."""
    clock = "unset EPOCHSECONDS; EPOCHSECONDS=1030; compiling_since=1000"
    told = _call(checkout, f"{clock}; text='as before'; describe '{line}'; echo \"$text\"")
    assert told.stdout.strip() == shown


def test_a_quiet_command_keeps_its_status_and_its_output(checkout: Path) -> None:
    """A command's status comes through, its output is in the log, an unfinished last line too."""
    done = _call(checkout, "quietly sh -c 'echo one; echo two >&2; printf three; exit 7' || echo status $?")
    assert done.stdout.splitlines()[-1] == "status 7"
    assert (checkout / "build/install.log").read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        (
            "W: Failed to fetch http://deb.debian.org/  Temporary failure resolving 'deb.debian.org'",
            "check the network",
        ),
        ("NewConnectionError('<pip...>: Failed to establish a new connection", "check the network"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend.", "Another program"),
        ("g++: fatal error: Killed signal terminated program cc1plus", "CMAKE_BUILD_PARALLEL_LEVEL=1"),
        ("certificate verify failed: certificate is not yet valid", "clock is wrong"),
        ("something else", "run this again"),
    ],
)
def test_a_failure_says_what_to_do(checkout: Path, log: str, remedy: str) -> None:
    """The end of the log is read for a cause that a person can mend."""
    (checkout / "build/install.log").write_text(log + "\n")
    assert remedy in _call(checkout, "cause").stdout


def _turns(checkout: Path, heard: list[str | None], audio_bytes: int = 1000) -> str:
    audio = checkout / "turn.wav"
    audio.write_bytes(b"\0" * audio_bytes)
    turn = {
        "confidence": 0.9,
        "intent": "Something",
        "reply": "Fine.",
        "source": "intent",
        "audio": str(audio),
        "timings": {"speech_end_s": 1.0, "first_audio_s": 1.75},
    }
    return "".join(json.dumps({**turn, "heard": text}) + "\n" for text in heard)


_QUESTIONS: list[str | None] = ["what time is it", "set a timer for five minutes", "turn on the lamp"]


def test_a_conversation_that_was_understood_is_shown(checkout: Path) -> None:
    """Every question and answer is printed, with how long the answer took."""
    done = _call(checkout, "show_turns", _turns(checkout, _QUESTIONS))
    assert done.returncode == 0
    assert all(str(question) in done.stdout for question in _QUESTIONS)
    assert done.stdout.count("answer began 0.75 s after the last word") == len(_QUESTIONS)


@pytest.mark.parametrize(
    ("heard", "audio_bytes", "complaint"),
    [
        ([*_QUESTIONS[:2], "turn on the lap"], 1000, "question 3"),
        ([*_QUESTIONS[:2], None], 1000, "question 3"),
        (_QUESTIONS[:1], 1000, "question 2"),
        (_QUESTIONS, 44, "no spoken reply"),
    ],
)
def test_what_was_not_understood_is_named(
    checkout: Path, heard: list[str | None], audio_bytes: int, complaint: str
) -> None:
    """A misheard, missing or silent exchange is status 1, and which one is said."""
    done = _call(checkout, "show_turns", _turns(checkout, heard, audio_bytes))
    assert done.returncode == 1
    assert complaint in done.stdout


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ("fp asimd evtstrm crc32 cpuid", ""),
        ("fp asimd asimdhp asimddp crc32", ", with dot product"),
        ("fp asimddp sve i8mm bf16", ", with dot product and i8mm"),
    ],
)
def test_it_says_what_the_processor_has_for_models(checkout: Path, features: str, told: str) -> None:
    """Dot product and i8mm are named where an Arm processor has them."""
    assert _call(checkout, f"grep() {{ echo 'Features\t: {features}'; }}; dot_products").stdout == told
