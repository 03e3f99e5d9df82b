"""`edge-agent models` as a person and as a program uses it, against a real server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from commands import CommandLine, assert_one_complaint, isolated
from hostile_server import HostileServer, hostile_server, redirect, status, whole
from model_files import an_entry, as_toml
from rich.console import Console

from edge_agent.app import models_home
from edge_agent.app.models_home import ModelsNotAllowedError
from edge_agent.cli.main import _COMMANDS, cli
from edge_agent.cli.models import models as models_group
from edge_agent.cli.models_view import describe, print_models
from edge_agent.config.schema import Config
from edge_agent.models.catalog import CatalogModel, load_catalog
from edge_agent.models.layout import ModelsHome

NAME = "tiny-instruct"
DEADLINE_S = 80
"""A busy machine takes its time."""


@contextmanager
def serving() -> Iterator[HostileServer]:
    """Run the server on a thread of its own, since the command line is a child process."""
    ready = threading.Event()
    found: list[tuple[HostileServer, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with hostile_server() as server:
            done = asyncio.Event()
            found.append((server, asyncio.get_running_loop(), done))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    server, loop, done = found[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


@pytest.fixture
def server() -> Iterator[HostileServer]:
    """A server."""
    with serving() as found:
        yield found


@pytest.fixture
def offer(
    command_line: CommandLine, server: HostileServer, gguf_files: dict[int, bytes]
) -> Callable[..., CatalogModel]:
    """Offers a tiny language model in a catalogue of its own."""

    def make(**changes: Any) -> CatalogModel:  # noqa: ANN401 - the entry's
        server.serve(f"/{NAME}.gguf", whole(gguf_files[1]))
        model = an_entry("llm", NAME, {f"{NAME}.gguf": gguf_files[1]}, server.url(""), board_mib=1, **changes)
        wake = 'id = "wake"\nkind = "wake"\nlanguages = ["en"]\ndescription = ""\nlicence = "x"\n'
        wake += 'licence_url = "https://example.org/"\ncomes_with = "pymicro-wakeword"\n'
        command_line.write("catalog.toml", f"{as_toml(model)}\n[[models]]\n{wake}")
        command_line.write("config.toml", '[directories]\nmodels = "models"\n')
        return model

    return make


def models(command_line: CommandLine, verb: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `edge-agent models`."""
    return command_line.run("models", verb, *arguments, "--catalog", "catalog.toml", "--config", "config.toml")


def test_a_model_is_listed_pulled_verified_and_removed(
    command_line: CommandLine, offer: Callable[..., CatalogModel], gguf_files: dict[int, bytes]
) -> None:
    """From nothing to nothing, and what it says on the way."""
    offer()
    path = command_line.home / "models" / "llm" / f"{NAME}.gguf"
    listed = json.loads(models(command_line, "list", "--json").stdout)
    (entry, wake) = listed["models"]
    assert (entry["installed"], entry["recommended"], entry["path"], wake["installed"]) == (False, True, None, True)
    assert_one_complaint(models(command_line, "path", NAME), f"get it with `edge-agent models pull {NAME}`")

    done = models(command_line, "pull", NAME)
    assert (done.returncode, path.read_bytes()) == (0, gguf_files[1])
    assert f"✓ {NAME} is here now: {path}" in done.stdout
    assert "licence: CC0-1.0" in done.stdout
    assert f"loading {NAME}.gguf" in done.stderr
    assert models(command_line, "path", NAME.upper()).stdout == f"{path}\n"
    (entry, _) = json.loads(models(command_line, "list", "--json").stdout)["models"]
    assert (entry["installed"], entry["used"], entry["path"]) == (True, True, str(path))
    assert "●★ tiny-instruct" in " ".join(models(command_line, "list").stdout.split())

    done = models(command_line, "verify")
    assert (done.returncode, done.stdout) == (0, f"✓ {NAME}: as published; works\n")
    path.write_bytes(gguf_files[2])
    done = models(command_line, "verify", NAME, "--json")
    assert done.returncode == 1
    (result,) = json.loads(done.stdout)
    assert (result["ok"], result["checksum"]) == (False, "published")
    assert "is not what was downloaded" in result["fault"]

    command_line.write("config.toml", f'[directories]\nmodels = "models"\n[llm]\nmodel = "models/llm/{NAME}.gguf"\n')
    assert_one_complaint(models(command_line, "remove", NAME), "named by llm.model of the configuration", "--force")
    done = models(command_line, "remove", NAME, "--force")
    assert (done.returncode, path.exists()) == (0, False)
    assert f"{NAME} is removed" in done.stdout
    assert_one_complaint(models(command_line, "remove", NAME), "there is nothing to remove")


def test_remedies_have_sudo_where_the_models_are_another_user_s(
    command_line: CommandLine, offer: Callable[..., CatalogModel]
) -> None:
    """Of what is not here, and of what is damaged."""
    offer()
    options = ("--catalog", "catalog.toml", "--config", "config.toml")
    other = {"SUDO_UID": str(os.getuid() + 1)}
    done = command_line.run("models", "path", NAME, *options, env=other)
    assert_one_complaint(done, f"get it with `sudo edge-agent models pull {NAME}`")
    damaged = command_line.home / "models" / "llm" / f"{NAME}.gguf"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"damaged")
    done = command_line.run("models", "verify", NAME, *options, env=other)
    assert f"; sudo edge-agent models pull {NAME} puts it right" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        ("list", False),
        ("verify a", False),
        ("path a", False),
        ("pull a b", True),
        ("pull --recommended", True),
        ("remove a", True),
    ],
)
def test_whether_it_may_is_asked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, *, changes: bool
) -> None:
    """With what has to be typed instead; nothing of the directory is touched before."""

    def find(_config: Config, command: str, *, changes: bool) -> ModelsHome:
        raise ModelsNotAllowedError(tmp_path, "changed" if changes else "read", command)

    monkeypatch.setattr(models_home, "find_models", find)
    (tmp_path / "config.toml").touch()
    done = CliRunner().invoke(models_group, [*arguments.split(), "--config", str(tmp_path / "config.toml")])
    assert isinstance(done.exception, ModelsNotAllowedError)
    verb = "changed" if changes else "read"
    assert str(done.exception).endswith(f"may not be {verb} by you; run: sudo edge-agent models {arguments}")


def test_programs_get_json_and_nothing_else(command_line: CommandLine, offer: Callable[..., CatalogModel]) -> None:
    """A pinned one, with its checksum; then there is nothing to do."""
    offer(sha256=False)
    (result,) = json.loads(models(command_line, "pull", "--recommended", "--json").stdout)
    assert (result["ok"], result["is_new"], list(result["pinned"])) == (True, True, [f"{NAME}.gguf"])
    (result,) = json.loads(models(command_line, "pull", NAME, "--json").stdout)
    assert (result["is_new"], result["pinned"]) == (False, {})


def test_what_can_t_be_had_is_one_line(
    command_line: CommandLine, offer: Callable[..., CatalogModel], server: HostileServer
) -> None:
    """Status 1 for a server's fault, 2 for the caller's; what is good is pulled all the same."""
    offer()
    for answer, message in ((status(404), "answered 404"), (redirect("file:///etc/passwd"), "scheme 'file'")):
        server.serve(f"/{NAME}.gguf", answer)
        assert_one_complaint(models(command_line, "pull", NAME), message, f"{NAME}.gguf can't be had", status=1)
    for arguments, message in (
        (["pull"], "name models, or give --recommended"),
        (["pull", "tiny-instruc"], 'did you mean "tiny-instruct"'),
        (["pull", NAME, "--from", "/no/such"], "/no/such: no such directory"),
        (["pull", NAME, "--from", ""], "the directory to pull from is empty"),
        (["pull", NAME, "--mirror", "ftp://x"], "is not an http, https or file address"),
        (["pull", NAME, "--from", ".", "--mirror", "https://x"], "exclude each other"),
        (["pull", NAME, "--recommended"], "exclude each other"),
        (["pull", "--recommended", "--language", "xx"], 'nothing for language "xx"'),
        (["path", "wake"], "come with the Python package pymicro-wakeword"),
        (["remove", "wake"], "come with the Python package"),
        (["remove", "absent"], "is not in the catalogue"),
        (["verify", "absent"], "is not in the catalogue"),
    ):
        assert_one_complaint(models(command_line, *arguments), message)
    done = models(command_line, "pull", "wake")
    assert (done.returncode, done.stdout) == (0, "")
    assert "need no download: they come with the Python package pymicro-wakeword" in done.stderr


def test_the_list_fits_into_eighty_columns() -> None:
    """Of our own catalogue, in one line a model; a star is explained where there is one."""
    config, catalog, home = Config(), load_catalog(), ModelsHome(Path("/nowhere"))
    for language, mark in (("en", "★ recommended for"), ("xx", "nothing is recommended for")):
        out = io.StringIO()
        found = describe(config, catalog, home, language)
        print_models(found, Console(file=out, width=80, highlight=False))
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        for model in catalog.models:
            (line,) = [line for line in lines if f" {model.id} " in line]
            assert line.rstrip().endswith(model.licence.partition(" (")[0])
        assert ("★" in out.getvalue()) is (language == "en")
        assert mark in out.getvalue()


def test_help_is_not_cut_off() -> None:
    """Each command's line is whole, and fits."""
    shown = CliRunner().invoke(models_group, ["--help"], terminal_width=80).output
    assert "..." not in shown.partition("Commands:")[2]
    described = CliRunner().invoke(cli, ["--help"], terminal_width=80).output.partition("Commands:")[2].split("\n")
    assert len([line for line in described if line.strip()]) == len(_COMMANDS)


def test_a_directory_serves_without_a_network(
    command_line: CommandLine, offer: Callable[..., CatalogModel], server: HostileServer, gguf_files: dict[int, bytes]
) -> None:
    """A stick with the files on it, by path or as a file: address."""
    offer()
    stick = command_line.home / "stick"
    stick.mkdir()
    (stick / f"{NAME}.gguf").write_bytes(gguf_files[1])
    assert models(command_line, "pull", NAME, "--from", stick).returncode == 0
    assert models(command_line, "remove", NAME).returncode == 0
    assert models(command_line, "pull", NAME, "--from", f"file://{stick}").returncode == 0
    assert server.asked == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_came(
    command_line: CommandLine,
    offer: Callable[..., CatalogModel],
    server: HostileServer,
    gguf_files: dict[int, bytes],
    number: int,
) -> None:
    """Status 130 or 143, one line, and the next pull goes on."""
    model = offer()
    server.serve(f"/{NAME}.gguf", whole(gguf_files[1], stalls_at=5000), whole(gguf_files[1]))
    # What is started in a shell's background is deaf to SIGINT, and so are its children.
    hearing = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    hearing += "runpy.run_module('edge_agent', run_name='__main__')"
    command = [sys.executable, "-c", hearing, "models", "pull", NAME]
    child = subprocess.Popen(
        [*command, "--catalog", "catalog.toml", "--config", "config.toml"],
        cwd=command_line.home,
        env=isolated(command_line.home),
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + DEADLINE_S
    part = command_line.home / "models" / ".pull" / NAME / f"{NAME}.gguf"
    while not part.exists() and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(number)
    _, complaints = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 128 + number
    assert complaints.strip().splitlines()[-1] == (
        "edge-agent: interrupted; what came so far is kept, and the next pull goes on from there"
    )
    assert not (command_line.home / "models" / "llm").exists()
    assert "of a pull that has not ended; pull it again to go on, or remove it" in models(command_line, "list").stdout
    assert models(command_line, "pull", model.id).returncode == 0
    for expected in (f"{NAME} is removed", f"what had come of {NAME} is removed"):  # with the model, then alone
        part.parent.mkdir(parents=True)
        part.write_bytes(b"half")
        assert models(command_line, "remove", NAME).stdout.startswith(expected)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    assert json.loads(models(command_line, "remove", NAME, "--json").stdout) == [{"name": NAME, "freed_bytes": 4}]


def test_the_directory_may_be_read_only(command_line: CommandLine, offer: Callable[..., CatalogModel]) -> None:
    """Something is in the way of it: a line that names it."""
    offer()
    command_line.write("models", "a file, not a directory")
    done = models(command_line, "pull", NAME)
    assert_one_complaint(done, str(command_line.home / "models"), status=1)


def test_listing_imports_no_engine() -> None:
    """It has to be quick on a small board."""
    code = "import sys; sys.argv = ['edge-agent', 'models', 'list', '--json']\n"
    code += "import edge_agent.cli.main as m; m.run()\n"
    code += "print(sorted({n.partition('.')[0] for n in sys.modules} & {'vosk', 'piper', 'onnxruntime', 'llama_cpp', "
    code += "'aiohttp', 'numpy'}))"
    environ = {**os.environ, "HOME": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.splitlines()[-1] == "[]"
