"""install.sh as root: installing, upgrading, going back, removing, and being interrupted at any point."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from installer_rig import Host

from edge_agent.config.load import load_config
from edge_agent.config.schema import Config

_CONFIG = Path(__file__).parents[1] / "systemd/install/config.toml"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine on which nothing is installed yet."""
    return Host(tmp_path)


def test_install_makes_everything_and_starts_it(host: Host) -> None:
    """One command: user, groups that exist, directories, release, links, unit, and the service runs."""
    done = host.install()
    assert host.in_use() == "one"
    assert host.known("passwd") == ["ann", "edge-agent"]
    assert "edge-agent" in host.known("group")
    calls = host.calls()
    assert "usermod --append --groups audio,spi edge-agent" in calls
    assert [call for call in calls if call.startswith("systemctl")] == [
        "systemctl daemon-reload",
        "systemctl enable edge-agent.service",
        "systemctl reset-failed edge-agent.service",
        "systemctl restart --no-block edge-agent.service",
    ]
    assert (host.units / "edge-agent.service").read_bytes() == (
        host.checkout / "systemd/edge-agent.service"
    ).read_bytes()
    board = (host.units / "edge-agent.service.d/10-board.conf").read_text()
    assert "SupplementaryGroups=audio spi\n" in board
    assert re.search(r"^MemoryMax=\d+%$", board, re.MULTILINE)
    assert (host.root / "usr/local/bin/edge-agent").readlink() == Path("/opt/edge-agent/current/.venv/bin/edge-agent")
    assert (host.opt / "current").readlink() == Path("releases") / host.releases[0]
    assert "listening: one" in done.stdout


def test_what_is_secret_is_for_few(host: Host) -> None:
    """The configuration is for the service and root, credentials for root alone."""
    host.install()
    modes = {
        name: f"{(host.root / name).stat().st_mode & 0o7777:04o}"
        for name in ("etc/edge-agent", "etc/edge-agent/config.toml", "etc/edge-agent/credentials", "var/lib/edge-agent")
    }
    assert modes == {
        "etc/edge-agent": "0750",
        "etc/edge-agent/config.toml": "0640",
        "etc/edge-agent/credentials": "0700",
        "var/lib/edge-agent": "0750",
    }
    owners = [call for call in host.calls() if call.startswith("chown")]
    if owners:  # only root gives files away
        assert f"chown root:edge-agent {host.config}.new" in owners
        assert f"chown root:root {host.config.parent}/credentials" in owners
        assert f"chown edge-agent:edge-agent {host.root}/var/lib/edge-agent" in owners


def test_the_same_again_changes_nothing_and_restarts_nothing(host: Host) -> None:
    """A second run finds everything as it should be."""
    host.install()
    before = host.picture()
    host.calls()
    done = host.install()
    after = host.picture()
    log = "var/log/edge-agent-install.log"
    assert {**after, log: ""} == {**before, log: ""}
    assert not [call for call in host.calls() if "restart" in call]
    assert "runs already" in done.stdout


def test_the_same_again_asks_for_no_compiler(host: Host) -> None:
    """What came from a wheelhouse needs none the next time either, without it."""
    host.install()
    told = 'debian_packages() { echo "compiler-$builds  why"; }; dpkg-query() { printf absent; }; apt_get() { :; }'
    assert "compiler-false" in host.run(before=told).stdout
    host.release("two")
    assert "compiler-true" in host.run(before=told).stdout


def test_a_service_that_was_stopped_is_started(host: Host) -> None:
    """Installing again mends a service that does not run."""
    host.install()
    host.forget("running")
    host.calls()
    host.install()
    assert "systemctl restart --no-block edge-agent.service" in host.calls()


def test_a_configuration_is_never_overwritten(host: Host) -> None:
    """What its owner wrote stays, to the byte and to the second, through install, upgrade, rollback and uninstall."""
    host.config.parent.mkdir(parents=True)
    host.config.write_text("language = 'de' # mine\n")
    written = host.config.stat().st_mtime_ns
    host.install()
    host.release("two")
    host.install("upgrade")
    host.install("rollback")
    host.install("uninstall")
    assert host.config.read_text() == "language = 'de' # mine\n"
    assert host.config.stat().st_mtime_ns == written


def test_upgrade_says_from_which_to_which(host: Host) -> None:
    """The new release is in use, the one before is kept, and both are named."""
    host.install()
    first = host.releases[0]
    host.release("two", version="0.2.0")
    done = host.install("upgrade")
    second = next(name for name in host.releases if name != first)
    assert (host.in_use(), host.in_use("previous")) == ("two", "one")
    assert second.startswith("0.2.0-")
    assert f"from {first} to {second}" in done.stdout


def test_upgrade_to_the_same_restarts_nothing(host: Host) -> None:
    """An upgrade from an unchanged checkout says so."""
    host.install()
    host.calls()
    done = host.install("upgrade")
    assert "is in use" in done.stdout
    assert not [call for call in host.calls() if "restart" in call]


def test_upgrade_needs_something_to_upgrade(host: Host) -> None:
    """Where nothing is installed it says how to install."""
    done = host.run("upgrade")
    assert (done.returncode, "sudo ./install.sh" in done.stderr) == (1, True)


def test_two_releases_are_kept(host: Host) -> None:
    """Older ones go."""
    for content in ("one", "two", "three", "four"):
        host.release(content)
        host.install()
    assert len(host.releases) == 2
    assert (host.in_use(), host.in_use("previous")) == ("four", "three")


def test_rollback_and_back_again(host: Host) -> None:
    """Rollback exchanges the two releases, with the unit of each."""
    host.install()
    host.release("two")
    unit = host.checkout / "systemd/edge-agent.service"
    unit.write_text(unit.read_text() + "# two\n")
    host.install("upgrade")
    host.calls()
    host.install("rollback")
    assert (host.in_use(), host.in_use("previous")) == ("one", "two")
    assert "# two" not in (host.units / "edge-agent.service").read_text()
    assert "systemctl restart --no-block edge-agent.service" in host.calls()
    host.install("rollback")
    assert (host.in_use(), host.in_use("previous")) == ("two", "one")
    assert "# two" in (host.units / "edge-agent.service").read_text()


def test_rollback_without_a_release_before(host: Host) -> None:
    """There is nothing to go back to, and nothing changes."""
    host.install()
    done = host.run("rollback")
    assert done.returncode == 1
    assert "no release to go back to" in done.stderr
    assert host.in_use() == "one"


def test_rollback_asks_the_older_release_about_the_configuration(host: Host) -> None:
    """A configuration that the older release refuses is named before anything is switched."""
    host.install()
    host.release("two")
    host.install("upgrade")
    host.config.write_text("refused = 1\n")
    host.calls()
    done = host.run("rollback")
    assert (done.returncode, host.in_use()) == (1, "two")
    assert "refused: unknown key" in done.stderr
    assert not [call for call in host.calls() if "restart" in call]


def test_a_release_that_does_not_start_is_never_switched_to(host: Host) -> None:
    """What fails its trial leaves the release in use alone."""
    host.install()
    host.release("two")
    (host.checkout / "edge_agent/broken").touch()
    host.calls()
    done = host.run("upgrade")
    assert (done.returncode, host.in_use()) == (1, "one")
    assert "edge-agent does not start" in done.stderr
    assert not [call for call in host.calls() if "restart" in call]


def test_a_configuration_that_the_new_release_refuses_stops_the_upgrade(host: Host) -> None:
    """Its complaint is shown, and the release in use stays."""
    host.install()
    host.config.write_text("refused = 1\n")
    host.release("two")
    done = host.run("upgrade")
    assert (done.returncode, host.in_use()) == (1, "one")
    assert "refused: unknown key" in done.stderr


def test_a_service_that_does_not_come_up_goes_back_by_itself(host: Host) -> None:
    """The release before runs again, with its unit; the journal's end and the reason are shown."""
    for content in ("one", "two"):
        host.release(content)
        host.install()
    unit = host.checkout / "systemd/edge-agent.service"
    unit.write_text(unit.read_text() + "# three\n")
    host.release("dies")
    done = host.run("upgrade")
    assert done.returncode == 1
    assert (host.in_use(), host.in_use("previous")) == ("two", "one")
    assert "# three" not in (host.units / "edge-agent.service").read_text()
    assert "it ended at once (exit-code, status 1)" in done.stderr
    assert "Traceback: it died" in done.stderr
    assert host.calls()[-1] == "systemctl restart --no-block edge-agent.service"


@pytest.mark.parametrize(
    ("content", "reason"), [("brief", "it did not stay up"), ("deaf", "it does not hear, and what ran before did")]
)
def test_a_service_that_is_worse_than_before_goes_back(host: Host, content: str, reason: str) -> None:
    """Ready is not enough: what ends within seconds, or is deaf where the release before heard, has not come up."""
    host.install()
    host.release(content)
    done = host.run("upgrade", before="virtual_time")
    assert (done.returncode, host.in_use()) == (1, "one")
    assert reason in done.stderr
    assert "runs again" in done.stderr


def test_a_microphone_may_take_a_while(host: Host) -> None:
    """Deaf for some seconds after the switch is no reason to go back."""
    host.install()
    host.release("late")
    assert host.run("upgrade", before="virtual_time").returncode == 0
    assert host.in_use() == "late"


def test_a_device_without_a_microphone_is_upgraded(host: Host) -> None:
    """Where the release before was deaf, too, the new one need not hear."""
    host.release("deaf")
    host.install()
    host.release("deaf two")
    assert host.run("upgrade", before="virtual_time").returncode == 0
    assert host.in_use() == "deaf two"


def test_a_cut_upgrade_that_does_not_come_up_goes_back_too(host: Host) -> None:
    """Cut between switch and start, the next run still knows what ran before."""
    host.install()
    host.release("dies")
    assert host.run("upgrade", before="dies_before start_unit").returncode == -9
    done = host.run()
    assert (done.returncode, host.in_use()) == (1, "one")
    assert "runs again" in done.stderr


def test_a_unit_that_was_written_before_a_cut_is_taken_up(host: Host) -> None:
    """Cut after the unit was written, the next run restarts the service, which still runs with the one before."""
    host.install()
    board = host.units / "edge-agent.service.d/10-board.conf"
    board.write_text("# older\n")
    assert host.run(before="dies_after place_unit").returncode == -9
    host.calls()
    host.install()
    assert "systemctl restart --no-block edge-agent.service" in host.calls()
    host.install()
    assert not [call for call in host.calls() if "restart" in call]


def test_a_first_release_that_does_not_come_up_is_told(host: Host) -> None:
    """With nothing to go back to it stays, the journal's end is shown, and the status is 1."""
    host.release("dies")
    done = host.run()
    assert done.returncode == 1
    assert "Traceback: it died" in done.stderr
    assert "no other release" in done.stderr


_STAGES = [
    ("before", "copy_project"),
    ("after", "copy_project"),
    ("before", "install_extras"),
    ("after", "install_extras"),
    ("before", "prove"),
    ("before", "fetch_models"),
    ("before", "switch_to"),
    ("after", "point"),
    ("after", "switch_to"),
    ("before", "place_unit"),
    ("after", "place_unit"),
    ("after", "enable_unit"),
    ("before", "wait_active"),
    ("before", "prune"),
]


@pytest.mark.parametrize(("when", "stage"), _STAGES)
def test_a_cut_is_repaired_by_the_next_run(host: Host, when: str, stage: str) -> None:
    """At any moment the release in use is a whole one; the next run ends where an uninterrupted one would."""
    host.install()
    first = host.in_use()
    host.release("two")
    cut = host.run("upgrade", before=f"dies_{when} {stage}")
    assert cut.returncode == -9
    assert host.in_use() in {first, "two"}
    assert (host.opt / "current/.proved").exists()
    host.install("upgrade")
    assert (host.in_use(), host.in_use("previous")) == ("two", "one")
    assert len(host.releases) == 2
    assert (host.opt / ".started").read_text().strip() == (host.opt / "current").readlink().name


@pytest.mark.parametrize(("when", "stage"), [("after", "make_account"), *_STAGES])
def test_a_first_install_that_was_cut_is_repaired(host: Host, when: str, stage: str) -> None:
    """The first one, too."""
    assert host.run(before=f"dies_{when} {stage}").returncode == -9
    host.install()
    assert (host.in_use(), len(host.releases)) == ("one", 1)


def _steps(done: str) -> list[str]:
    return re.findall(r"^\[.*", done, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [("install",), ("upgrade",), ("rollback",), ("uninstall",), ("uninstall", "--purge"), ("--desktop-audio", "ann")],
)
def test_a_dry_run_changes_nothing(host: Host, arguments: tuple[str, ...]) -> None:
    """It tells what would be done, and every file, user and service is as before; that is its last word."""
    for content in ("one", "two"):
        host.release(content)
        host.install()
    host.release("three")
    (host.opt / ".swap").touch()  # a run that was killed leaves it
    before, users = host.picture(), host.known("passwd")
    host.calls()
    done = host.install(*arguments, "--dry-run")
    assert host.picture() == before
    assert host.known("passwd") == users
    assert all("/tmp/edge-agent-trial." in call for call in host.calls())
    assert "would " in done.stdout
    assert done.stdout.endswith("\nNothing was changed.\n")
    assert "/dev/null" not in done.stdout
    done_steps = host.run(*arguments)
    assert _steps(done.stdout) == _steps(done_steps.stdout)


def test_a_dry_run_on_a_bare_machine_changes_nothing(host: Host) -> None:
    """Not even its log is written."""
    before = host.picture()
    host.install("--dry-run")
    assert (host.picture(), host.calls()) == (before, [])


@pytest.mark.parametrize("arguments", [("install",), ("--desktop-audio", "ann"), ("uninstall", "--purge")])
def test_a_dry_run_calls_nothing_done_that_is_not(host: Host, arguments: tuple[str, ...]) -> None:
    """A step has lines that begin with "would" or one with a tick, which then is true; never both."""
    host.install("--no-desktop-audio")
    host.release("two")
    (host.units / "edge-agent.service").write_text("# older\n")
    host.config.unlink()
    told = host.install(*arguments, "--dry-run").stdout
    steps = re.split(r"^(?=\[)", told, flags=re.MULTILINE)[1:]
    assert [step for step in steps if ("  would " in step) == ("✓" in step)] == []


def test_a_dry_run_of_what_is_installed_finds_nothing_to_do(host: Host) -> None:
    """Where all is as it should be, no step would do anything; a service that was stopped would be started."""
    host.install()
    real_owners = "directory() { :; }; users_directory() { :; }; id() { echo audio spi; }"
    done = host.run("--dry-run", "--no-models", before=real_owners)
    assert (done.returncode, re.findall("would .*", done.stdout)) == (0, [])
    assert "runs already" in done.stdout
    host.forget("running")
    told = re.findall("would .*", host.run("--dry-run", "--no-models", before=real_owners).stdout)
    assert told == ["would start edge-agent.service, and wait until it is ready"]


def test_a_dry_run_starts_nothing_where_nothing_is_started(host: Host) -> None:
    """An image's service would be enabled, and that is all."""
    told = host.install("--dry-run", "--no-start").stdout
    assert "would enable edge-agent.service" in told
    assert not re.search(r"would .*\bstart edge-agent", told)


def test_a_dry_run_names_the_releases_that_would_go(host: Host) -> None:
    """The one before the one in use, which the upgrade makes the one before."""
    for content in ("one", "two"):
        host.release(content)
        host.install()
    oldest = (host.opt / "previous").readlink().name
    host.release("three")
    told = re.findall("would remove release (.*)", host.install("upgrade", "--dry-run").stdout)
    assert told == [oldest]


def test_a_dry_run_fails_where_a_run_would(host: Host) -> None:
    """Debian packages that are missing can't be installed without a network."""
    absent = "debian_packages() { echo 'gcc  why'; }; dpkg-query() { printf absent; }"
    assert "would install 1 Debian packages" in host.run("--dry-run", before=absent).stdout
    done = host.run("--dry-run", "--offline", before=absent)
    assert (done.returncode, "--offline forbids" in done.stderr) == (1, True)


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("purge", [False, True])
def test_uninstall_says_where_nothing_is_installed(host: Host, *, purge: bool, dry: bool) -> None:
    """Nothing "gone" where nothing was, and nothing of a user who is not there."""
    told = host.install("uninstall", *["--purge"] * purge, *["--dry-run"] * dry).stdout
    assert "Nothing is installed here" in told
    assert [word for word in ("gone", "would", "user edge-agent") if word in told] == []
    assert ("Nothing was changed." in told) == dry


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("options", [(), ("--small",), ("--small", "--desktop-audio", "ann"), ("--desktop-audio=ann",)])
def test_steps_are_counted_to_the_last(host: Host, options: tuple[str, ...], *, built: bool) -> None:
    """Every step has its number, and the last one that of all."""
    if built:
        host.install(*options)
    numbers = [step.split("]")[0] for step in _steps(host.install(*options).stdout)]
    assert numbers == [f"[{number}/{len(numbers)}" for number in range(1, len(numbers) + 1)]


def test_steps_are_counted_where_the_engine_alone_is_missing(host: Host) -> None:
    """It is tried again in a step of its own."""
    host.note("no-engine")
    host.install()
    planned, done = host.install("--dry-run").stdout, host.install().stdout
    assert _steps(planned) == _steps(done)
    assert _steps(done)[-1] == "[7/7] Service"


def test_uninstall_leaves_what_is_the_owners(host: Host) -> None:
    """Program and unit are gone; configuration, models, state and user stay, and are named."""
    host.install()
    (host.root / "var/lib/edge-agent/models/llm").mkdir()
    done = host.install("uninstall")
    assert not host.opt.exists()
    assert not list(host.root.rglob("*edge-agent.service*"))
    assert not (host.root / "usr/local/bin/edge-agent").is_symlink()
    assert host.config.exists()
    assert (host.root / "var/lib/edge-agent/models/llm").exists()
    assert "edge-agent" in host.known("passwd")
    assert str(host.config.parent) in done.stdout
    host.install()
    assert host.in_use() == "one"


def test_purge_leaves_nothing(host: Host) -> None:
    """A machine is as it was before, but for the log and empty directories of the system."""
    host.install("--desktop-audio", "ann")
    host.install("uninstall", "--purge")
    left = [path for path in host.root.rglob("*") if not path.is_dir() and path.name != "edge-agent-install.log"]
    assert not left
    assert not [path for path in host.root.rglob("*edge-agent*") if path.is_dir()]
    assert host.known("passwd") == ["ann"]
    assert "edge-agent" not in host.known("group")


def test_uninstall_twice(host: Host) -> None:
    """Where nothing is installed there is nothing to do."""
    host.install()
    host.install("uninstall", "--purge")
    host.install("uninstall", "--purge")


def test_uninstall_spares_a_checkout_in_its_place(host: Host) -> None:
    """What install.sh did not put into /opt/edge-agent stays there."""
    host.install()
    (host.opt / "mine").touch()
    host.install("uninstall")
    assert [path.name for path in host.opt.iterdir()] == ["mine"]


@pytest.mark.parametrize("by_itself", [False, True])
def test_without_systemd_it_is_enabled_and_not_started(host: Host, *, by_itself: bool) -> None:
    """In an image the unit is enabled by its link; systemctl is never called."""
    if by_itself:
        (host.root / "run/systemd/system").rmdir()
    done = host.install(*(() if by_itself else ("--no-start",)))
    link = host.units / "multi-user.target.wants/edge-agent.service"
    assert link.readlink() == Path("/etc/systemd/system/edge-agent.service")
    assert not [call for call in host.calls() if call.startswith("systemctl")]
    assert ("systemd does not run here" in done.stdout) == by_itself


def test_models_that_can_not_be_fetched_are_no_failure(host: Host) -> None:
    """Without a network it says so, and installs."""
    host.note("no-network")
    done = host.install()
    assert "not all fetched: No network" in done.stdout
    assert host.in_use() == "one"


@pytest.mark.parametrize("option", ["--no-models", "--offline", "--small"])
def test_models_are_not_fetched_where_they_are_not_wanted(host: Host, option: str) -> None:
    """Three options do without, and say so."""
    done = host.install(option)
    assert not [call for call in host.calls() if call.startswith("pull")]
    assert option in done.stdout


def test_models_of_the_checkout_are_taken_along(host: Host) -> None:
    """What was tried in the checkout is there for the service; what the service has stays as it is."""
    for name in ("llm/a.gguf", "piper/en_US-a.onnx", "vosk/vosk-model-small-en/am/final.mdl"):
        (host.checkout / "models" / name).parent.mkdir(parents=True)
        (host.checkout / "models" / name).write_text("checkout's")
    models = host.root / "var/lib/edge-agent/models"
    (models / "llm").mkdir(parents=True)
    (models / "llm/a.gguf").write_text("service's")
    host.install("--no-models")
    assert (models / "llm/a.gguf").read_text() == "service's"
    assert (models / "vosk/vosk-model-small-en/am/final.mdl").read_text() == "checkout's"
    assert not (host.opt / "current/models/llm").exists()


def test_models_are_fetched_by_the_services_user(host: Host) -> None:
    """Not by root, in whose name a link among the models would lead anywhere; home and directory are open to it."""
    assert host.run(before="is_root() { true; }").returncode == 0
    pulls = [call for call in host.calls() if call.startswith("pull")]
    assert pulls == [f"pull by edge-agent at home in {host.root}/var/lib/edge-agent from /"]


def test_root_changes_nothing_where_others_may_leave_links(host: Host) -> None:
    """Below the service's state its user is at work, in a desktop user's home that user."""
    (host.checkout / "models/llm").mkdir()
    (host.checkout / "models/llm/a.gguf").touch()
    host.watch()
    for option in ("--desktop-audio=ann", "--no-desktop-audio"):
        done = host.run(option, before="is_root() { true; }")
        assert done.returncode == 0, done.stdout + done.stderr
    theirs = [line for line in host.watched() if re.search("/var/lib/edge-agent/|/home/ann", line)]
    assert [line for line in theirs if line.startswith("root ")] == []
    done_by = {tuple(line.split()[:2]) for line in theirs}
    assert {("edge-agent", "mkdir"), ("edge-agent", "tar"), ("edge-agent", "mv"), ("ann", "mv")} <= done_by


def test_a_link_in_the_place_of_the_models_is_left_as_it_is(host: Host, tmp_path: Path) -> None:
    """Whoever made it: what it leads to keeps mode and owner."""
    elsewhere, models = tmp_path / "elsewhere", host.root / "var/lib/edge-agent/models"
    elsewhere.mkdir(mode=0o700)
    models.parent.mkdir(parents=True)
    models.symlink_to(elsewhere)
    host.install()
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert not [call for call in host.calls() if call.startswith("chown") and str(models) in call]


def test_models_that_can_not_be_copied_are_no_failure(host: Host) -> None:
    """Where the service's user may not write they are named, and the rest is installed."""
    (host.checkout / "models/llm").mkdir()
    (host.checkout / "models/llm/a.gguf").touch()
    models = host.root / "var/lib/edge-agent/models"
    models.mkdir(parents=True)
    (models / "llm").touch()
    done = host.install()
    assert "llm/a.gguf could not be copied" in done.stdout
    assert host.in_use() == "one"


def test_an_engine_that_can_not_be_built_is_left_out_and_tried_again(host: Host) -> None:
    """The rest is installed and says what is missing; the next run tries again, in the same release."""
    host.note("no-engine")
    done = host.install()
    assert "Without the language model engine" in done.stdout
    assert (host.opt / "current/.without-llm").exists()
    host.forget("no-engine")
    host.install()
    assert not (host.opt / "current/.without-llm").exists()
    assert len(host.releases) == 1


def test_too_little_memory_leaves_the_engine_out(host: Host) -> None:
    """Unattended, a board that can't compile goes without, says why and what to add; with --swap it gets a file."""
    small = "mib() { echo 200; }; has_cached_engine() { return 1; }"
    done = host.run(before=small)
    assert done.returncode == 0
    assert "add --swap" in done.stdout
    swap = f"{small}; free_mib() {{ echo 9999; }}; dd() {{ touch {host.opt}/.swap; }}"
    swap += "".join(f"; {name}() {{ :; }}" for name in ("mkswap", "swapon", "swapoff"))
    done = host.run("--swap", before=swap)
    assert done.returncode == 0
    assert "swap file of 1024 MiB is in use" in done.stdout
    assert not (host.opt / ".swap").exists()
    assert not (host.opt / "current/.without-llm").exists()


def test_a_small_installation_stays_small(host: Host) -> None:
    """An upgrade does not begin to compile for hours what was left out on purpose; --full does."""
    host.install("--small")
    host.release("two")
    assert "Language model engine" not in host.install("upgrade").stdout
    assert "Language model engine" in host.install("upgrade", "--full").stdout
    host.release("three")
    assert "Language model engine" in host.install("upgrade").stdout


def test_desktop_audio_opens_a_socket_for_the_service_alone(host: Host) -> None:
    """The desktop's server gets a second socket in a directory for the service's group; the service is told."""
    host.install("--desktop-audio", "ann")
    socket = "unix:/run/edge-agent-audio/pulse"
    pipewire = (host.root / "home/ann/.config/pipewire/pipewire-pulse.conf.d/edge-agent.conf").read_text()
    assert f'[ "unix:native" "{socket}" ]' in pipewire
    assert "auth-group=edge-agent" in (host.root / "etc/pulse/default.pa.d/edge-agent.pa").read_text()
    assert (host.root / "etc/tmpfiles.d/edge-agent-audio.conf").read_text() == (
        "d /run/edge-agent-audio 0750 ann edge-agent -\n"
    )
    assert f"PULSE_SERVER={socket}" in (host.units / "edge-agent.service.d/20-desktop-audio.conf").read_text()
    assert socket in (host.root / "var/lib/edge-agent/.asoundrc").read_text()


def test_desktop_audio_is_undone(host: Host) -> None:
    """By its option, with a restart; and nothing of it is left in the user's home."""
    host.install()
    bare = host.picture()
    host.install("--desktop-audio", "ann")
    host.calls()
    host.install("--no-desktop-audio")
    log = "var/log/edge-agent-install.log"
    left = {name for name, what in host.picture().items() if bare.get(name) != what and name != log}
    assert all((host.root / name).is_dir() for name in left)
    assert "systemctl restart --no-block edge-agent.service" in host.calls()


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("--dry-run",), "sudo ./install.sh install --dry-run"),
        (("upgrade",), "sudo ./install.sh upgrade"),
        (("uninstall", "--purge", "--dry-run"), "sudo ./install.sh uninstall --purge --dry-run"),
        (("install", "--wheelhouse", "my wheels"), r"sudo ./install.sh install --wheelhouse my\ wheels"),
    ],
)
def test_only_root_installs(host: Host, arguments: tuple[str, ...], advice: str) -> None:
    """Anybody else is told the same command with sudo, and nothing is done."""
    before = host.picture()
    done = host.run(*arguments, before="may_install() { false; }")
    assert (done.returncode, done.stderr.splitlines()[-1].strip()) == (1, advice)
    assert host.picture() == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("rollback", "--small"), "--small"),
        (("uninstall", "--wheelhouse", "x"), "--wheelhouse"),
        (("install", "--wheelhouse"), "takes a directory"),
        (("install", "--offline", "--wheelhouse", "/nowhere"), "/nowhere"),
        (("--fly",), "--fly"),
    ],
)
def test_wrong_options(host: Host, arguments: tuple[str, ...], complaint: str) -> None:
    """One line, status 2, and nothing is done."""
    before = host.picture()
    done = host.run(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert complaint in done.stderr
    assert host.picture() == before


def _uncommented() -> str:
    return re.sub(r"^#(\[|[a-z_]+ =)", r"\1", _CONFIG.read_text(), flags=re.MULTILINE)


def test_the_first_configuration_changes_nothing() -> None:
    """As it is written every key is a comment."""
    assert load_config(_CONFIG, {}) == Config()


def test_the_first_configuration_shows_the_defaults(tmp_path: Path) -> None:
    """Every commented line is a key that exists, with its default; only the pins are examples."""
    shown = tmp_path / "config.toml"
    shown.write_text(_uncommented())
    with_pins = load_config(shown, {}).model_dump(exclude={"gpio"})
    assert with_pins == Config().model_dump(exclude={"gpio"})
    assert tomllib.loads(shown.read_text())["gpio"].keys() == {"button", "light", "outputs"}
