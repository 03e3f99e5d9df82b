"""`edge-agent setup` as people and scripts call it: options, a real terminal, real sound."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path

import click
import pytest
from certificates import Authority
from click.testing import CliRunner, Result
from pulse_rig import PulseRig

from edge_agent.app.setup import target as targets
from edge_agent.app.setup.errors import NotAllowedError
from edge_agent.cli.configuration import check
from edge_agent.cli.setup import setup
from edge_agent.cli.setup_person import TerminalPerson
from edge_agent.errors import EdgeAgentError

PATIENCE_S = 40.0


def run(*arguments: str, input: str | None = None) -> Result:  # noqa: A002 - click's own name for it
    """Call the command in this process, errors as values."""
    return CliRunner().invoke(setup, [*arguments], input=input, standalone_mode=False)


def complaint(result: Result) -> str:
    """Return the one line that an error is told in."""
    assert result.exception is not None
    shown = getattr(result.exception, "format_message", lambda: str(result.exception))()
    return str(shown)


def test_a_device_is_enrolled_by_options(tmp_path: Path) -> None:
    """Nothing is asked; what was not named is not written; the password comes by standard input."""
    file = tmp_path / "config.toml"
    options = [
        *("--yes", "--no-check", "--config", str(file), "--volume", "55", "--wake-word", "alexa"),
        *("--wake-word", "okay_nabu", "--broker", "mqtts://me@b.example", "--password-file", "-"),
        *("--name", "hall-7", "--group", "floor", "--group", "all"),
    ]
    result = run(*options, input="geheim42\n")
    assert result.exception is None, complaint(result)
    first = file.read_bytes()
    assert tomllib.loads(first.decode()) == {
        "device_id": "hall-7",
        "groups": ["floor", "all"],
        "audio": {"volume": 55},
        "activation": {"mode": "wake_word", "words": ["okay_nabu", "alexa"]},
        "mqtt": {
            "host": "b.example",
            "username": "me",
            "password_file": "mqtt-password",
            "tls": {"enabled": True},
        },
    }
    assert "geheim42" not in result.output
    assert (tmp_path / "mqtt-password").stat().st_mode & 0o777 == 0o600
    assert run(*options, input="geheim42\n").exception is None
    assert file.read_bytes() == first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--volume", "101"], "from 0 to 100"),
        (["--language", "english"], "ISO 639"),
        (["--mode", "sometimes"], "always, button, wake_word"),
        (["--wake-word", "computer"], "okay_nabu"),
        (["--wake-word", "alexa", "--mode", "always"], "--wake-word needs"),
        (["--mode", "button"], "--mode button needs --button-pin"),
        (["--language", "xx"], "nothing hears 'xx': there is no Vosk model for it in "),
        (["--group", "none", "--group", "x"], "none means no group, and stands alone"),
        (["--broker", "mqtt://me:geheim@b"], "--password-file"),
        (["--broker", "none", "--password-file", "-"], "need a broker"),
        (["--password-file", "-"], "need a broker"),
        (["--ca", "absent.pem", "--broker", "mqtts://b"], "--ca: "),
        (["--ca", __file__, "--broker", "mqtts://b"], "holds no certificate in PEM form"),
        (["--name", "a b"], "letters, digits"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_change_nothing(options: list[str], words: str, tmp_path: Path) -> None:
    """One line says what is wrong; status 2."""
    file = tmp_path / "config.toml"
    result = run("--yes", "--no-check", "--config", str(file), *options, input="geheim\n")
    assert words in complaint(result)
    assert "geheim" not in complaint(result) + result.output
    assert "\n" not in complaint(result)
    assert list(tmp_path.iterdir()) == []
    if isinstance(result.exception, EdgeAgentError):
        assert result.exception.exit_status == 2


@pytest.mark.parametrize("password", ["", "one\ntwo\n", "x" * 9000], ids=["none", "two lines", "endless"])
def test_a_password_is_one_line(password: str, tmp_path: Path) -> None:
    """What else is piped in is refused, and not cut to its first line."""
    options = ["--yes", "--no-check", "--config", str(tmp_path / "c.toml"), "--broker", "mqtt://me@b"]
    result = run(*options, "--password-file", "-", input=password)
    assert "--password-file: standard input: should hold the password and nothing else" in complaint(result)
    assert list(tmp_path.iterdir()) == []


def test_an_authority_s_certificate_is_taken(tmp_path: Path) -> None:
    """By its absolute path."""
    authority = Authority(tmp_path)
    file = tmp_path / "config.toml"
    options = ["--yes", "--no-check", "--config", str(file), "--broker", "mqtts://b", "--ca", str(authority.file)]
    result = run(*options)
    assert result.exception is None, complaint(result)
    assert tomllib.loads(file.read_text(encoding="utf-8"))["mqtt"]["tls"]["ca_file"] == str(authority.file)


def test_a_password_that_others_may_read_is_refused_with_the_command(tmp_path: Path) -> None:
    """It can be copied, and the option is named."""
    file = tmp_path / "pass word"
    file.write_text("geheim\n", encoding="utf-8")
    file.chmod(0o644)
    options = ["--yes", "--no-check", "--config", str(tmp_path / "c.toml"), "--broker", "mqtt://me@b"]
    said = complaint(run(*options, "--password-file", str(file)))
    assert "--password-file: " in said
    assert said.endswith(f"run: chmod 600 '{file}'")


@pytest.mark.parametrize("answers", [("", ""), ("perhaps", "n"), ("Yes", "")], ids="-".join)
def test_a_yes_or_no_is_asked_for_in_plain_words(answers: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Enter takes the default; what is neither is told how to answer."""
    said: list[bool] = []

    @click.command()
    def asking() -> None:
        said.append(TerminalPerson().confirm("Well?", default=True))

    shown = CliRunner().invoke(asking, input="\n".join((*answers, ""))).output
    assert said == [answers[1] != "n"]
    assert "Well? [Y/n]: " in shown
    assert ("! Type y or n.\n" in shown) == (answers[0] == "perhaps")
    assert capsys.readouterr().out == ""


def test_where_no_file_is_needed_none_is_written(tmp_path: Path) -> None:
    """The line does not speak of a file that is not there."""
    file = tmp_path / "config.toml"
    result = run("--yes", "--no-check", "--config", str(file), "--mode", "always")
    assert result.output == f"nothing differs from the defaults; no {file} was written\n"
    assert not file.exists()


def test_a_language_without_commands_is_one_that_the_service_starts_with(tmp_path: Path) -> None:
    """What is written is what `config check` takes; what is still to be done is told, and the way back undoes it."""
    file = tmp_path / "config.toml"
    file.write_text(f'[directories]\nmodels = "{tmp_path / "models"}"\n', encoding="utf-8")
    options = ["--yes", "--no-check", "--config", str(file), "--language"]
    result = run(*options, "de")
    assert result.exception is None, complaint(result)
    written = tomllib.loads(file.read_text(encoding="utf-8"))
    assert (written["language"], written["intents"]) == ("de", {"builtin": False})
    assert CliRunner().invoke(check, [str(file)], standalone_mode=False).output == f"{file}: ok\n"
    assert "! No commands in 'de' come with it, only in en and zh; so intents.builtin = false." in result.stderr
    assert "! Nothing here hears 'de' yet, and without that the service does not start." in result.stderr
    first = file.read_bytes()
    assert run(*options, "de").exception is None
    assert file.read_bytes() == first
    back = run(*options, "en")
    assert "builtin" not in file.read_text(encoding="utf-8")
    assert "The commands in 'en' that come with it count again" in back.stdout


def test_a_language_of_ones_own_needs_its_model_first(tmp_path: Path) -> None:
    """With the model it is as good as any other."""
    file = tmp_path / "config.toml"
    file.write_text(f'[directories]\nmodels = "{tmp_path}"\n', encoding="utf-8")
    (tmp_path / "vosk" / "vosk-model-small-xx-1").mkdir(parents=True)
    result = run("--yes", "--no-check", "--config", str(file), "--language", "xx")
    assert result.exception is None, complaint(result)
    assert CliRunner().invoke(check, [str(file)], standalone_mode=False).exception is None
    assert "is heard by Vosk, vosk-model-small-xx-1" in result.stdout


def test_files_that_are_named_and_absent_are_refused(tmp_path: Path) -> None:
    """The whole is checked as `config check` does, with the file's name and the key's."""
    file = tmp_path / "config.toml"
    before = '[llm]\nmodel = "gone.gguf"\n'
    file.write_text(before, encoding="utf-8")
    result = run("--yes", "--no-check", "--config", str(file), "--volume", "5")
    assert complaint(result) == f"{file}: llm.model: {tmp_path / 'gone.gguf'} does not exist"
    assert file.read_text(encoding="utf-8") == before


def test_without_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    """The line says what to do."""
    result = run("--config", str(tmp_path / "config.toml"), input="")
    assert "use --yes" in complaint(result)


def test_a_broken_configuration_is_not_written_over(tmp_path: Path) -> None:
    """It is to be mended by hand: what was meant can't be known."""
    file = tmp_path / "config.toml"
    file.write_text("volume = ", encoding="utf-8")
    result = run("--yes", "--config", str(file), "--volume", "5")
    assert "is not valid TOML" in complaint(result)
    assert file.read_text(encoding="utf-8") == "volume = "


def test_who_may_not_change_it_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed configuration belongs to root; the one line is a command."""
    system = tmp_path / "etc" / "config.toml"
    system.parent.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != system.parent)
    with pytest.raises(NotAllowedError, match=r"run: sudo edge-agent setup$"):
        targets.find_target(None, {"HOME": str(tmp_path)}, system)


def test_where_it_is_installed_the_services_file_is_meant(tmp_path: Path) -> None:
    """With systemd's credential for the password; elsewhere the user's own file with a password beside it."""
    system = tmp_path / "etc" / "config.toml"
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    own = targets.find_target(None, environ, system)
    assert own.file == tmp_path / "home" / "edge-agent" / "config.toml"
    assert (own.password, own.password_key) == (own.file.parent / "mqtt-password", "mqtt-password")
    system.parent.mkdir()
    installed = targets.find_target(None, environ, system)
    assert (installed.file, installed.is_installed, installed.password_key) == (system, True, None)
    assert installed.password == system.parent / "credentials" / "mqtt-password"


class Terminal:
    """The real command on a pseudo-terminal of 80 columns."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._leader, follower = pty.openpty()
        # A shell that runs the tests in the background has SIGINT ignored, which is inherited; a person's has not.
        command = ["setsid", "-c", "env", "--default-signal=INT", *command]
        self.process = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, env={**env, "COLUMNS": "80"}
        )
        os.close(follower)
        self.seen = ""
        self._at = 0

    def answer(self, question: str, keys: str) -> None:
        """Wait for a question that was not answered yet, then type."""
        deadline_s = time.monotonic() + PATIENCE_S
        while (found := self.seen.find(question, self._at)) < 0:
            assert time.monotonic() < deadline_s, f"{question!r} was not asked:\n{self.seen}"
            self._read()
        self._at = found + len(question)
        # A password is asked for by a prompt that is printed before echoing is turned off.
        while self.seen[self._at :].count(": ") == 0:
            self._read()
        os.write(self._leader, f"{keys}\n".encode())

    def type(self, keys: str) -> None:
        """Type, whatever is asked."""
        os.write(self._leader, keys.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, and once more a second later where nothing came of it, as a person does.

        Where the signal comes just before Python's `input()` reads, it waits for the next key.
        """
        deadline_s = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline_s:
            self.type(chr(3))
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)

    def end(self) -> int:
        """Return the status when it has ended."""
        try:
            while self._read():
                pass
            return self.process.wait(timeout=PATIENCE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            os.close(self._leader)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._leader], [], [], PATIENCE_S)
        assert ready, f"nothing comes any more:\n{self.seen}"
        try:
            data = os.read(self._leader, 4096)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a comment."""
    file = tmp_path / "config.toml"
    file.write_text(f'# mine\n\n[directories]\nstate = "{tmp_path}"\nmodels = "{tmp_path}"\n', encoding="utf-8")
    return file


@pytest.mark.live
@pytest.mark.slow
def test_a_person_at_a_terminal(pulse_rig: PulseRig, config: Path, tmp_path: Path) -> None:
    """Real sound on null sinks: the meter moves, three notes come out of the speaker; no line is too long."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    speech = tmp_path / "speech.wav"
    subprocess.run(["flite", "-t", "turn on the light in the kitchen " * 40, "-o", str(speech)], check=True)
    env = {**pulse_rig.env, "XDG_RUNTIME_DIR": str(tmp_path)}
    terminal = Terminal([sys.executable, "-m", "edge_agent", "setup", "--config", str(config)], env)
    with pulse_rig.playing(speech), pulse_rig.record(tmp_path / "out.wav"):
        terminal.answer("Which microphone?", _number(terminal, pulse_rig.microphone))
        terminal.answer("Which speaker?", _number(terminal, pulse_rig.speaker))
        terminal.answer("Volume in per cent", "50")
        terminal.answer("Did you hear", "y")
    terminal.answer("Language", "")
    terminal.answer("When does it listen?", "2")
    terminal.answer("Wake words", "hey_jarvis")
    terminal.answer("Broker [", "mqtt://me@127.0.0.1:1")
    terminal.answer("Password", "geheim42")
    terminal.answer("Name of this device", "hall")
    terminal.answer("Groups", "")
    terminal.answer("What now?", "1")
    terminal.answer("Write it", "")
    assert terminal.end() == 0, terminal.seen
    assert tomllib.loads(config.read_text(encoding="utf-8"))["audio"] == {
        "input_device": pulse_rig.microphone,
        "output_device": pulse_rig.speaker,
        "volume": 50,
    }
    assert f"{pulse_rig.microphone} hears you" in terminal.seen
    assert "#" in terminal.seen
    assert any((tmp_path / "out.wav").read_bytes()[44:])
    assert "refuses the connection" in terminal.seen
    assert "geheim42" not in terminal.seen
    lines = (line for part in terminal.seen.split("\n") for line in part.rstrip("\r").split("\r"))
    # A path is not broken, so that it can be copied.
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80


@pytest.mark.live
def test_ctrl_c_leaves_everything_as_it_was(config: Path, tmp_path: Path) -> None:
    """In the middle of the questions; the status is a shell's own for it."""
    before = sorted(tmp_path.iterdir()), config.read_bytes()
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "edge_agent", "setup", "--no-check", "--config", str(config)]
    terminal = Terminal([*command, "--microphone", "", "--speaker", "", "--volume", "5"], env)
    terminal.answer("Language", "de")
    terminal.answer("When does it listen?", "")
    terminal.interrupt()
    assert terminal.end() in {130, -signal.SIGINT}, terminal.seen
    assert (sorted(tmp_path.iterdir()), config.read_bytes()) == before


def _number(terminal: Terminal, device: str) -> str:
    """Return the number that a device has in the list that was printed last."""
    deadline_s = time.monotonic() + PATIENCE_S
    while f"  {device}\r" not in terminal.seen.rpartition("Which")[0] and time.monotonic() < deadline_s:
        terminal._read()
    line = next(line for line in reversed(terminal.seen.split("\n")) if line.rstrip().endswith(f"  {device}"))
    return line.split()[0]
